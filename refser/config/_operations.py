"""The classes of `keras.ops`, by which operations are told from layers where a config does not say the module.

Keras: keras.src.ops of 3.0.5 to 3.15.1.
"""

from __future__ import annotations

import re

OPERATIONS = frozenset(
    re.findall(
        r"\w+",
        """
        Abs Absolute AdaptiveAveragePool AdaptiveMaxPool Add AffineTransform All AllClose Amax Amin Angle Any Append Arange
        Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argpartition Argsort Array ArraySplit
        AssociativeScan Average AveragePool Bartlett BatchNorm BinaryCrossentropy Bincount BitwiseAnd BitwiseInvert
        BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift BitwiseXor Blackman BroadcastTo CDist CTCDecode CTCLoss Cast
        CategoricalCrossentropy Cbrt Ceil Celu Cholesky CholeskyInverse Clip Concatenate Cond Conj Conjugate Conv
        ConvTranspose ConvertToTensor Copy Corrcoef Correlate Cos Cosh CountNonzero CropImages Cross CtcLoss Cumprod Cumsum
        Deg2rad DepthToSpace DepthwiseConv Det Diag Diagflat Diagonal Diff Digitize Divide DivideNoNan Dot
        DotProductAttention Dsplit Dstack Eig Eigh Einsum ElasticTransform Elu Empty EmptyLike Equal Erf Erfc Erfinv Exp
        Exp2 ExpandDims Expm1 ExtractPatches ExtractPatches3D ExtractSequences Eye FFT FFT2 Fabs Flip Fliplr Flipud Floor
        FloorDivide Fmax Fmin Fmod Fold ForiLoop Full FullLike GaussianBlur Gcd Gelu Geomspace GetItem Glu Greater
        GreaterEqual HSVToRGB Hamming Hanning HardShrink HardSigmoid HardSilu HardTanh Heaviside Histogram Hsplit Hstack
        Hypot I0 IFFT2 IRFFT ISTFT Identity Imag InTopK Inner Inv IsIn Isclose Isfinite Isinf Isnan Isneginf Isposinf Isreal
        JVP Kaiser Kron LayerNorm Lcm Ldexp LeakyRelu LeftShift Less LessEqual Linspace Log Log10 Log1p Log2 LogSigmoid
        LogSoftmax Logaddexp Logaddexp2 Logdet LogicalAnd LogicalNot LogicalOr LogicalXor Logspace Logsumexp Lstsq LuFactor
        Map MapCoordinates Matmul MatrixRank Max MaxPool Maximum Mean Median Meshgrid Min Minimum Mod Moments Moveaxis
        MultiHot Multiply NanToNum Nanargmax Nanargmin Nancumprod Nancumsum Nanmax Nanmean Nanmedian Nanmin Nanpercentile
        Nanprod Nanquantile Nanstd Nansum Nanvar Ndim Negative Nextafter Nonzero Norm Normalize NotEqual OneHot Ones
        OnesLike Outer PSNR Pad PadImages Percentile PerspectiveTransform Pinv Polar Power Prod Ptp Qr Quantile RFFT
        RGBToGrayscale RGBToHSV RMSNorm Rad2deg Ravel Real Rearrange Reciprocal Relu Relu6 Repeat Reshape Resize RightShift
        Roll Rot90 Round Rsqrt SSIM STFT SVD SaturateCast ScaleAndTranslate Scan Scatter ScatterUpdate SearchSorted
        SegmentMax SegmentMin SegmentProd SegmentSum Select Selu SeparableConv Sigmoid Sign Signbit Silu Sin Sinc Sinh Size
        Slice SliceUpdate Slogdet SobelEdges SoftShrink Softmax Softplus Softsign Solve SolveTriangular Sort SpaceToDepth
        SparseCategoricalCrossentropy SparsePlus SparseSigmoid Sparsemax Split Sqrt Square Squareplus Squeeze Stack Std
        StopGradient Subtract Sum Swapaxes Switch Take TakeAlongAxis Tan Tanh TanhShrink Tensordot Threshold Tile TopK Trace
        Transpose Trapezoid Tri Tril Triu TrueDivide Trunc Unfold Unique UnravelIndex Unstack Vander Var Vdot VectorizedMap
        View ViewAsComplex ViewAsReal Vsplit Vstack Where WhileLoop Zeros ZerosLike
        """,
    )
)
