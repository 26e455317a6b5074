"""A run or a comparison as one HTML file that needs nothing else.

``scales`` and ``plots`` turn values into coordinates, ``archive`` and ``learning`` read what a
search left behind, ``run_page`` and ``comparison_page`` say what stands on a page, ``templates``
how it looks, and ``page`` puts it into one file. Needs the extra 'report'.
"""
