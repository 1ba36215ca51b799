"""A peer that runs in an interpreter of its own, in turn with us."""

import json
import os
import subprocess


class Peer:
    """Another interpreter, which runs a script with `--serve FOLDER` and waits for its turns.

    Args:
        python: the interpreter.
        script: what it runs: it answers each line of its input by a line of JSON; lines that do not
            begin with "{" are passed over.
        folder: what the script is given.
        environment: variables beside ours, such as `OMP_NUM_THREADS`.
    """

    def __init__(self, python, script, folder, **environment):
        self._process = subprocess.Popen(
            [python, script, "--serve", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self._answer()

    def turn(self, name):
        """What the script answers to a line."""
        print(name, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(
            "The peer's interpreter has ended: does --peer-python have what the docstring lists?"
        )

    def close(self):
        self._process.stdin.close()
        self._process.wait()
