# calls is a list of {"key", "number", "args"}.
import subprocess

# Outside, a process of our own stands for the first one, which is this program itself.
first = 1 if inside else subprocess.Popen(["/usr/bin/sleep", "300"]).pid
for c in calls:
    if c["key"].startswith(("ptrace", "process_vm", "kcmp")) and not c["key"].endswith("traceme"):
        c["args"] = [first if a == 1 else a for a in c["args"]]
    def one(c=c):
        r = call(c["number"], *c["args"])
        if r == 0 and c["key"].startswith("clone"):
            os._exit(0)  # the child that clone has made
        return None
    attempt(c["key"], one)
if not inside:
    os.kill(first, 9)
