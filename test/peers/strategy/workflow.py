"""A client of the Strategy door, written against the published facts and not against
our code, that drives the whole workflow: workflow.py BASE-URL USER PASSWORD.

It behaves as the vendor's own client does where that is known: it logs in with a form,
looks at the version before, compares the session's timeout before every call, sends
the project header everywhere, polls evaluations and decodes their output as JSON.
"""
import base64
import json
import re
import sys
import time

import requests

FINAL = 3
DEADLINE = 120


class Connection:
    def __init__(self, base, user, password):
        self.base, self.project, self.last = base.rstrip("/"), None, time.time()
        self.http = requests.Session()
        self.http.trust_env = False
        version = self.http.get(self.base + "/api/status").json()["iServerVersion"]
        if tuple(int(n) for n in version[:9].split(".")) < (11, 1, 400):
            raise SystemExit("too old: " + version)
        form = {"loginMode": 1, "applicationType": 35, "username": user, "password": password}
        answer = self.http.post(self.base + "/api/auth/login", data=form)
        expect(answer, 204)
        self.http.headers["X-MSTR-AuthToken"] = answer.headers["X-MSTR-AuthToken"]
        assert self.http.cookies.get("JSESSIONID"), "no cookie"
        self.timeout = self.http.get(self.base + "/api/sessions").json()["timeout"]
        assert isinstance(self.timeout, int)

    def select_project(self):
        projects = self.call("GET", "/api/projects", 200).json()
        self.project = projects[0]["id"]
        self.http.headers["X-MSTR-ProjectID"] = self.project
        return projects[0]["name"]

    def call(self, method, path, status, **more):
        if time.time() - self.last > self.timeout:
            raise SystemExit("the session has expired")
        answer = self.http.request(method, self.base + path, **more)
        self.last = time.time()
        expect(answer, status)
        return answer

    def refused(self, method, path, status, code, **more):
        error = self.call(method, path, status, **more).json()
        assert error["code"] == code, error
        assert re.fullmatch("[0-9a-f]{32}", error["ticketId"]), error
        return error["message"]

    def finish(self, evaluation):
        end = time.time() + DEADLINE
        while time.time() < end:
            result = self.call("GET", "/api/scripts/evaluation/" + evaluation, 200).json()
            if result["status"] >= FINAL:
                output = result["results"].get("output")
                result["value"] = None if output is None else json.loads(output)
                return result
            time.sleep(0.05)
        raise SystemExit("evaluation %s does not end" % evaluation)


def expect(answer, status):
    if answer.status_code != status:
        raise SystemExit("%s %s answers %d, want %d: %s" % (answer.request.method, answer.request.url, answer.status_code, status, answer.text))


def content(source):
    return base64.b64encode(source.encode()).decode()


def main(base, user, password):
    c = Connection(base, user, password)
    print("project:", c.select_project())
    assert c.call("GET", "/api/sessions/userInfo", 200).json()["fullName"] == user

    listed = c.call("GET", "/api/runtimes", 200).json()["runtimes"]
    assert any(r["id"] == "0F35652CA7D041978BF0CBCB67531203" and r["status"] == "ready" for r in listed)
    version = c.call("GET", "/api/runtimes/versions", 200).json()["versions"][0]
    body = {
        "name": "Peer Runtime", "description": "made by a peer", "whitelist": ["10.10.10.0/24"],
        "packages": [{"name": "mstrio-py", "version": "", "description": ""}], "resource": {"cpu": "0.5", "mem": 256},
        "execTimeout": 60, "minCachedInstances": 1, "maxCachedInstances": 2, "runtimeVersion": version, "others": "",
    }
    runtime = c.call("POST", "/api/runtimes", 201, json=body).json()["id"]
    end = time.time() + DEADLINE
    while True:
        shown = c.call("GET", "/api/runtimes/" + runtime, 200).json()
        if shown["status"] != "busy" or time.time() > end:
            break
        time.sleep(0.1)
    assert shown["status"] == "ready" and shown["packages"][0]["status"] == "installed", shown
    for key in ("name", "description", "whitelist", "resource", "execTimeout", "minCachedInstances", "maxCachedInstances", "runtimeVersion", "others"):
        assert shown[key] == body[key], (key, shown[key])
    print("runtime:", runtime, shown["packages"][0]["status"])
    c.call("PATCH", "/api/runtimes/" + runtime, 204, json={"name": "Peer Runtime", "execTimeout": 30})
    assert c.call("GET", "/api/runtimes/" + runtime, 200, params={"fields": "execTimeout"}).json() == {"execTimeout": 30}
    c.refused("POST", "/api/runtimes", 409, "ERR015", json=body)
    c.refused("POST", "/api/runtimes", 400, "ERR007", json={})
    c.refused("POST", "/api/runtimes", 400, "ERR006", data="{'name': 'x'}", headers={"Content-Type": "application/json"})

    script = {
        "name": "peer script", "description": "", "folderId": "D3C7D461F69C4610AA6BAA5EF51F4125", "scriptType": "python", "scriptRuntimeId": runtime,
        "scriptContent": content("import sys, mstrio\nprint('hello', $who)\nprint('warning', file=sys.stderr)\nreturn {'who': $who, 'twice': $n * 2}"),
        "variables": [{"name": "who", "type": 1, "value": "nobody", "prompt": True}, {"name": "n", "type": 2, "value": "21"}],
    }
    made = c.call("POST", "/api/scripts", 201, json=script).json()["id"]
    kept = c.call("GET", "/api/scripts/" + made, 200).json()
    assert kept["scriptContent"] == script["scriptContent"] and kept["scriptRuntimeId"] == runtime
    assert c.call("GET", "/api/scripts", 200, params={"ids": made}).json()["totalItems"] == 1
    by_name = {v["name"]: v["id"] for v in kept["variables"]}
    answers = [{"id": by_name["who"], "value": "peer"}]
    run = c.call("POST", "/api/scripts/%s/evaluation" % made, 202, json={"variables": answers}).json()["id"]
    result = c.finish(run)
    assert result["status"] == FINAL and result["value"] == {"who": "peer", "twice": 42}, result
    assert result["results"]["stdout"] == "hello peer\n" and result["results"]["stderr"] == "warning\n", result
    history = c.call("GET", "/api/scripts/history", 200, params={"scriptids": made}).json()["history"]
    assert history[0]["lastStatus"] == "succeeded", history
    print("script:", made, result["value"])
    changed = {"name": "peer script", "folderId": script["folderId"], "scriptContent": content("return 1+1")}
    c.call("PUT", "/api/scripts/" + made, 204, json=changed)
    assert c.finish(c.call("POST", "/api/scripts/%s/evaluation" % made, 202, json={}).json()["id"])["value"] == 2

    sleeper = c.call("POST", "/api/scripts/evaluation", 202, json={"scriptContent": content("import time; time.sleep(600)")}).json()["id"]
    c.call("DELETE", "/api/scripts/evaluation/" + sleeper, 204)
    assert c.finish(sleeper)["status"] == 6
    failed = c.finish(c.call("POST", "/api/scripts/evaluation", 202, json={"scriptContent": content("raise KeyError('k')"), "scriptRuntimeId": runtime}).json()["id"])
    assert failed["status"] == 4 and "KeyError" in failed["message"], failed

    identity = c.call("POST", "/api/auth/identityToken", 201).headers["X-MSTR-IdentityToken"]
    other = requests.post(c.base + "/api/auth/delegate", json={"loginMode": "-1", "identityToken": identity})
    expect(other, 204)
    expect(requests.get(c.base + "/api/sessions", headers={"X-MSTR-AuthToken": other.headers["X-MSTR-AuthToken"]}), 200)
    token = c.call("POST", "/api/auth/apiTokens", 201).json()["apiToken"]
    expect(requests.post(c.base + "/api/auth/login", json={"username": token, "loginMode": 4096, "applicationType": 35}), 204)

    c.call("DELETE", "/api/scripts/" + made, 204, params={"userComments": "the peer is done"})
    c.call("DELETE", "/api/runtimes/" + runtime, 204, params={"userComments": "the peer is done"})
    c.refused("GET", "/api/runtimes/" + runtime, 404, "ERR004")
    c.call("POST", "/api/auth/logout", 204)
    c.refused("GET", "/api/sessions", 401, "ERR009")
    print("workflow: done")


if __name__ == "__main__":
    main(*sys.argv[1:])
