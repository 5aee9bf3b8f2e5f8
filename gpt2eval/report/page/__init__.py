"""One self-contained HTML page about results: table, charts, and the text coloured by surprisal.

`builder.page` makes it. Each section is a module that returns plain values; the page's own script
draws them.
"""
