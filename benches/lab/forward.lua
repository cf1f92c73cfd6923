-- Requests as a proxy gets them, in absolute form; $TARGET is the whole URL.
local target = os.getenv("TARGET")
wrk.headers["Host"] = target:match("^http://([^/]*)")
wrk.path = target
