"""The operator's page: live results of daemons in a browser.

A thread receives (``receiver``), a thread for each service asks and reads the history
(``directory``), and the web server runs in the main thread (asyncio). They meet in ``state``, which
has a lock. The files of the page are in ``static``.
"""
