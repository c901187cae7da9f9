"""Numbered steps that are recorded in place of being run."""

from experiments import steps


def record(monkeypatch, act=lambda step, options: None):
    """Replaces ``steps.run``; returns the list of the calls, (step, options), as they come.

    Args:
      monkeypatch: pytest's.
      act: called with the step and its options, all strings, in place of the step; what it returns
        is returned by ``steps.run``.
    """
    calls = []

    def run(step, options, log=None, core=None):
        options = [str(option) for option in options]
        calls.append((step, options))
        return act(step, options)

    monkeypatch.setattr(steps, "run", run)
    return calls


def value_of(options, option):
    """The value of ``option`` in a recorded command line."""
    return options[options.index(option) + 1]
