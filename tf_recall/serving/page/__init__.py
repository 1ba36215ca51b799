"""The page of `tf-recall serve --ui`: an application in the browser over the server's own REST.

    files (what is sent), routes (what it asks) -> maps -> projection, colors

Vue, Quasar and ECharts, as published, stand in `static/vendor` and ship in the wheel: nothing is
built and nothing comes from another host. The page holds no state in the server: what it asks
passes the gate as any request does, with the key, the limits, the deadlines and the log. A library
that draws from the server, as NiceGUI does, would keep each visitor's page in the server's memory,
speak over a websocket beside the gate, and hold one application for a whole process.
"""
