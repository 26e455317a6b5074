"""What a comparison came to: intervals, tests, tables, figures and a verdict in plain words.

Everything here is a function of :class:`~rlprompt.core.trials.Trial` and
:class:`~rlprompt.core.trials.Failure`. Nothing is selected: test scores are only reported.

``cells`` sorts trials, ``statistics`` is arithmetic on arrays, ``pairwise`` tests all pairs,
``verdict`` says what they show. ``tables`` and ``figures`` load pandas and matplotlib and need the
extra 'compare'; import them where they are used.
"""
