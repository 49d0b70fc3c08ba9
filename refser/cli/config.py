"""`refser config`: print a model's config.

Spec: spec/command-line.md (CL-027 to CL-029).
"""

from __future__ import annotations

import sys
from argparse import Namespace

from refser import api, jsonio
from refser.cli import _outcome
from refser.cli._parser import limits_of
from refser.errors import Problem


def run(args: Namespace) -> int:
    with api.open(args.file, limits=limits_of(args)) as file:
        problems = _outcome.warn(file.problems)
        text = file.config_json
        if text is None:
            message = f"weights only ({file.layout}); there is no config in it"
            raise _outcome.NotDoneError(Problem(code="CL-029", message=message, at=args.file))
        if args.raw and not args.json:
            sys.stdout.flush()
            sys.stdout.buffer.write(text.encode("utf-8"))
            sys.stdout.buffer.flush()
            return _outcome.CONFORMS
        config = file.config
        layout = file.layout
    if args.json:
        raw = {"config_json": text} if args.raw else {}
        _outcome.print_json(args, {"layout": layout, "config": config, **raw, "problems": problems})
    else:
        print(jsonio.dump(config, at=args.file, indent=2).replace("\x7f", "\\u007f"))
    return _outcome.CONFORMS
