"""The smallest model hub that huggingface_hub's own client is content with, for tests on this machine.

`python tests/hub_server.py FOLDER --token TOKEN=USER[:read]` serves on a free port of 127.0.0.1 and prints its
address. FOLDER keeps everything: `blobs/` the files' contents by their git id, `repos/OWNER/NAME.json` the commits
and what branches, tags and pull requests point to. If FOLDER/faults exists, its lines "KIND STATUS" break routes on
purpose, e.g. "commit 503"; "preupload push" commits for somebody else before the client's own commit; "resolve cut"
ends the next download halfway, "resolve short" serves half files as whole, "resolve moved" moves main to the tag v1
after the next download, as a push would.
"""

import argparse
import base64
import hashlib
import json
import re
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LOCK = threading.RLock()
BAD_TOKEN = "Invalid credentials in Authorization header"  # the client looks for these very words


class HubError(Exception):
    """An answer other than 200; `code` is what the client tells kinds of 404 apart by."""

    def __init__(self, status: int, message: str, code: str | None = None, **body) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.body = status, message, code, body


class Store:
    """Repositories in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs").mkdir(parents=True, exist_ok=True)

    def path(self, repo: str) -> Path:
        return self.folder / "repos" / f"{repo}.json"

    def load(self, repo: str) -> dict | None:
        return json.loads(self.path(repo).read_text()) if self.path(repo).is_file() else None

    def save(self, repo: str, state: dict) -> None:
        path = self.path(repo)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(state, indent=1))
        unfinished.replace(path)

    def blob(self, oid: str) -> bytes:
        return (self.folder / "blobs" / oid).read_bytes()

    def add_blob(self, content: bytes) -> str:
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        (self.folder / "blobs" / oid).write_bytes(content)
        return oid

    @staticmethod
    def add_commit(state: dict, parent: str | None, files: dict[str, str], title: str) -> str:
        commit = {
            "parent": parent,
            "files": files,
            "title": title,
            "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        sha = hashlib.sha1(json.dumps(commit).encode()).hexdigest()
        state["commits"][sha] = commit
        return sha


class Handler(BaseHTTPRequestHandler):
    """One request; `do_...` find the route, methods named after it answer."""

    protocol_version = "HTTP/1.1"
    store: Store
    tokens: dict[str, tuple[str, bool]]

    routes = [
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("GET", r"/api/models/([^/]+/[^/]+)", "info"),
        ("GET", r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", "info"),
        ("GET", r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", "tree"),
        ("GET", r"/api/models/([^/]+/[^/]+)/commits/([^/]+)", "commits"),
        ("GET", r"/api/models/([^/]+/[^/]+)/refs", "refs"),
        ("POST", r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", "preupload"),
        ("POST", r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", "commit"),
        ("POST", r"/api/models/([^/]+/[^/]+)/branch/([^/]+)", "branch"),
        ("POST", r"/api/models/([^/]+/[^/]+)/tag/([^/]+)", "tag"),
        ("GET", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "resolve"),
    ]

    def do_GET(self) -> None:
        """Answer; HEAD differs only in that no body is sent."""
        # Read in any case: what is left over would be taken for the connection's next request.
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        method = "GET" if self.command == "HEAD" else self.command
        try:
            for wanted, pattern, name in self.routes:
                match = re.fullmatch(pattern, url.path)
                if match and wanted == method:
                    fault = self.fault(name)
                    if fault and fault.isdigit():
                        raise HubError(int(fault), "broken on purpose")
                    with LOCK:
                        return getattr(self, name)(*map(unquote, match.groups()))
            raise HubError(404, f"no route {method} {url.path}")
        except HubError as error:
            headers = {"X-Error-Message": error.message} | ({"X-Error-Code": error.code} if error.code else {})
            self.reply({"error": error.message, **error.body}, error.status, headers)

    do_HEAD = do_POST = do_GET

    def reply(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *args) -> None:
        """Keep quiet."""

    def fault(self, kind: str) -> str | None:
        path = self.store.folder / "faults"
        lines = path.read_text().splitlines() if path.is_file() else []
        return next((line.split()[1] for line in lines if line.split()[0] == kind), None)

    # Who may do what.

    def user(self) -> tuple[str | None, bool]:
        """The caller's name, and whether the token may write."""
        header = self.headers.get("Authorization")
        if header is None:
            return None, False
        token = header.removeprefix("Bearer ")
        if token not in self.tokens:
            raise HubError(401, BAD_TOKEN)
        return self.tokens[token]

    def readable(self, repo: str) -> dict:
        name, _ = self.user()
        state = self.store.load(repo)
        if state is None or (state["private"] and name != repo.split("/")[0]):
            # Like the real one: a stranger must not learn that a private repository exists.
            raise HubError(404 if name else 401, "Repository not found", "RepoNotFound")
        return state

    def writable(self, repo: str) -> dict:
        state = self.readable(repo)
        name, may_write = self.user()
        if name is None:
            raise HubError(401, "Unauthorized")
        if not may_write or (name != repo.split("/")[0] and "create_pr" not in self.query):
            raise HubError(403, "Forbidden: this token has no write access")
        return state

    @staticmethod
    def resolve_revision(state: dict, revision: str) -> str:
        sha = state["branches"].get(revision) or state["tags"].get(revision) or state["pulls"].get(revision)
        sha = sha or (revision if revision in state["commits"] else None)
        if sha is None:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha

    # Routes.

    def whoami(self) -> None:
        name, may_write = self.user()
        if name is None:
            raise HubError(401, BAD_TOKEN)
        role = "write" if may_write else "read"
        self.reply({"type": "user", "name": name, "orgs": [], "auth": {"accessToken": {"role": role}}})

    def create(self) -> None:
        asked = json.loads(self.body)
        name, may_write = self.user()
        if name is None:
            raise HubError(401, "Unauthorized")
        owner = asked.get("organization") or name
        if not may_write or owner != name:
            raise HubError(403, f"You don't have the rights to create a model under the namespace {owner!r}")
        repo = f"{owner}/{asked['name']}"
        url = f"http://{self.headers['Host']}/{repo}"
        if self.store.load(repo) is not None:
            raise HubError(409, "You already created this model repo", url=url)
        private = asked.get("visibility") == "private" or asked.get("private") is True
        state = {"private": private, "commits": {}, "branches": {}, "tags": {}, "pulls": {}}
        files = {".gitattributes": self.store.add_blob(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n")}
        state["branches"]["main"] = self.store.add_commit(state, None, files, "initial commit")
        self.store.save(repo, state)
        self.reply({"url": url})

    def validate_yaml(self) -> None:
        content = json.loads(self.body)["content"]
        if not re.match(r"---\n(.+\n)+---\n", content):
            return self.reply({"errors": [{"message": "no metadata between lines of ---"}], "warnings": []}, 400)
        self.reply({"errors": [], "warnings": []})

    def info(self, repo: str, revision: str = "main") -> None:
        state = self.readable(repo)
        sha = self.resolve_revision(state, revision)
        siblings = [{"rfilename": path} for path in state["commits"][sha]["files"]]
        self.reply({"id": repo, "sha": sha, "private": state["private"], "siblings": siblings})

    def tree(self, repo: str, revision: str) -> None:
        state = self.readable(repo)
        files = state["commits"][self.resolve_revision(state, revision)]["files"]
        entry = [{"type": "file", "path": p, "oid": o, "size": len(self.store.blob(o))} for p, o in files.items()]
        self.reply(entry)

    def commits(self, repo: str, revision: str) -> None:
        state = self.readable(repo)
        sha, found = self.resolve_revision(state, revision), []
        while sha is not None:
            commit = state["commits"][sha]
            found.append({"id": sha, "title": commit["title"], "message": "", "date": commit["date"], "authors": []})
            sha = commit["parent"]
        self.reply(found)

    def refs(self, repo: str) -> None:
        state = self.readable(repo)
        kinds = {"branches": "refs/heads/", "tags": "refs/tags/", "pulls": ""}
        listed = {
            kind: [{"name": n, "ref": prefix + n, "targetCommit": sha} for n, sha in state[kind].items()]
            for kind, prefix in kinds.items()
        }
        self.reply({"branches": listed["branches"], "tags": listed["tags"], "converts": []})

    def preupload(self, repo: str, revision: str) -> None:
        state = self.writable(repo)
        if self.fault("preupload") == "push":  # somebody else commits between a client's question and its commit
            sha = self.resolve_revision(state, revision)
            state["branches"][revision] = self.store.add_commit(
                state, sha, state["commits"][sha]["files"], "Somebody else's"
            )
            self.store.save(repo, state)
        there = state["commits"][self.resolve_revision(state, revision)]["files"]
        answer = [
            # "regular" keeps even the weights inside the commit: no second kind of storage is needed
            {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": there.get(f["path"])}
            for f in json.loads(self.body)["files"]
        ]
        self.reply({"files": answer})

    def commit(self, repo: str, revision: str) -> None:
        state = self.writable(repo)
        if revision not in state["branches"]:
            raise HubError(404, f"no branch {revision}", "RevisionNotFound")
        head = state["branches"][revision]
        files, title = dict(state["commits"][head]["files"]), ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                title = value["summary"]
                if value.get("parentCommit", head) != head:
                    raise HubError(412, "A commit has happened since. Please refresh and try again.")
            elif item["key"] == "file":
                files[value["path"]] = self.store.add_blob(base64.b64decode(value["content"], validate=True))
            elif item["key"] == "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
            else:
                raise HubError(400, f"{item['key']} is not understood here")
        sha = self.store.add_commit(state, head, files, title)
        host = f"http://{self.headers['Host']}/{repo}"
        answer = {"success": True, "commitOid": sha, "commitUrl": f"{host}/commit/{sha}", "pullRequestUrl": None}
        if "create_pr" in self.query:
            number = len(state["pulls"]) + 1
            state["pulls"][f"refs/pr/{number}"] = sha
            answer["pullRequestUrl"] = f"{host}/discussions/{number}"
        else:
            state["branches"][revision] = sha
        self.store.save(repo, state)
        self.reply(answer)

    def branch(self, repo: str, name: str) -> None:
        state = self.writable(repo)
        if name in state["branches"]:
            raise HubError(409, f"Reference already exists: {name}")
        start = (json.loads(self.body) if self.body else {}).get("startingPoint", "main")
        state["branches"][name] = self.resolve_revision(state, start)
        self.store.save(repo, state)
        self.reply({})

    def tag(self, repo: str, revision: str) -> None:
        state = self.writable(repo)
        name = json.loads(self.body)["tag"]
        if name in state["tags"]:
            raise HubError(409, f"Tag already exists: {name}")
        state["tags"][name] = self.resolve_revision(state, revision)
        self.store.save(repo, state)
        self.reply({})

    def resolve(self, repo: str, revision: str, path: str) -> None:
        state = self.readable(repo)
        sha = self.resolve_revision(state, revision)
        oid = state["commits"][sha]["files"].get(path)
        if oid is None:
            raise HubError(404, "Entry not found", "EntryNotFound")
        content = self.store.blob(oid)
        headers = {"X-Repo-Commit": sha, "ETag": f'"{oid}"'}
        if self.command == "GET" and (fault := self.fault("resolve")):
            if fault == "cut":
                headers["Content-Length"] = str(len(content))
                self.close_connection = True
                (self.store.folder / "faults").unlink()  # once: the client tries until it gets everything
            if fault == "moved":
                state["branches"]["main"] = state["tags"]["v1"]
                self.store.save(repo, state)
                (self.store.folder / "faults").unlink()
            else:
                content = content[: len(content) // 2]
        self.reply(content, headers=headers)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--token", action="append", default=[], metavar="TOKEN=USER[:read]")
    options = parser.parse_args()
    Handler.store = Store(options.folder)
    Handler.tokens = {}
    for entry in options.token:
        token, _, user = entry.partition("=")
        name, _, right = user.partition(":")
        Handler.tokens[token] = (name, right != "read")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
