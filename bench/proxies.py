"""Who caches: our proxy, and whoever of squid, nginx, varnish and trafficserver is on PATH.

All of them keep connections open on both sides, log every request, may hold all objects, and ask
the origin once for what several clients want at the same time. None writes outside its own
directory.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.measuring import Command
from proxy.running import ProxyOptions

OURS, SQUID, NGINX = "cvmfs-proxy", "squid", "nginx"
VARNISH, TRAFFICSERVER = "varnish", "trafficserver"
_PROGRAMS = {SQUID: "squid", NGINX: "nginx", VARNISH: "varnishd", TRAFFICSERVER: "traffic_server"}
_OWN_PROXY = Path(__file__).with_name("own_proxy.py")
_ATS_CONFIG = Path("/etc/trafficserver")
_ATS_PLACES = "localstatedir", "runtimedir", "logdir", "cachedir"
_IS_ROOT = os.geteuid() == 0
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """What a proxy is to do.

    Attributes:
        directory: for all that it writes.
        port: to listen on.
        forward_port: of a forward proxy, where that is another one.
        origin_port: of the origin, at 127.0.0.1.
        room_bytes: enough for all objects.
        is_on_disk: keep nothing in memory.
        has_log: write an access log.
    """

    directory: Path
    port: int
    forward_port: int
    origin_port: int
    room_bytes: int
    is_on_disk: bool = False
    has_log: bool = True

    @property
    def origin(self) -> str:
        """As a URL."""
        return f"http://127.0.0.1:{self.origin_port}"


Kind = Callable[[Plan], Command]


def kinds() -> dict[str, Kind]:
    """Ours first, then whoever is on PATH."""
    others = {SQUID: squid, NGINX: nginx, VARNISH: varnish, TRAFFICSERVER: trafficserver}
    found = {name: kind for name, kind in others.items() if shutil.which(_PROGRAMS[name])}
    return {OURS: ours, **found}


def ours(plan: Plan) -> Command:
    """Our proxy, one worker."""
    log = {"path": str(plan.directory / "access.log")} if plan.has_log else {}
    on_disk = {"cache_directory": str(plan.directory / "cache"), "cache_bytes": 4 * plan.room_bytes}
    about = ProxyOptions(
        [plan.origin],
        memory_bytes=0 if plan.is_on_disk else plan.room_bytes,
        access_log=log,
        **(on_disk if plan.is_on_disk else {}),  # type: ignore[arg-type]
    )
    return [sys.executable, _OWN_PROXY, json.dumps(about.pack()), str(plan.port)]


def squid(plan: Plan) -> Command:
    """One process, that shares misses; a port for each form."""
    own = plan.directory
    config = own / "squid.conf"
    in_memory = f"cache_mem {plan.room_bytes // _MB} MB\nmaximum_object_size_in_memory 4 MB\n"
    on_disk = (
        "cache_mem 8 MB\nmaximum_object_size_in_memory 0 KB\n"
        f"cache_dir aufs {own}/cache {plan.room_bytes // _MB} 16 256\n"
    )
    config.write_text(
        f"http_port 127.0.0.1:{plan.port} accel defaultsite=127.0.0.1 "
        f"vport={plan.origin_port}\nhttp_port 127.0.0.1:{plan.forward_port}\n"
        f"cache_peer 127.0.0.1 parent {plan.origin_port} 0 no-query originserver\n"
        f"{on_disk if plan.is_on_disk else in_memory}"
        f"{'cache_effective_user proxy' if _IS_ROOT else ''}\n"
        "http_access allow all\ncollapsed_forwarding on\nmax_filedescriptors 16384\n"
        f"pid_filename {own}/pid\ncoredump_dir {own}\ncache_log {own}/cache.log\n"
        f"access_log {f'stdio:{own}/access.log' if plan.has_log else 'none'}\n"
        "buffered_logs on\nclient_ip_max_connections -1\nmemory_pools on\n"
        "maximum_object_size 64 MB\nshutdown_lifetime 1 second\npinger_enable off\n"
        "client_persistent_connections on\nserver_persistent_connections on\n"
    )
    own.chmod(0o777)
    if plan.is_on_disk:
        subprocess.run(["squid", "-z", "-N", "-f", config], check=True, capture_output=True)
    return ["squid", "-N", "-f", config]


def nginx(plan: Plan) -> Command:
    """One worker with a locked cache; it caches in files, so its memory is a tmpfs."""
    own = plan.directory
    config = own / "nginx.conf"
    log = f"{own}/access.log combined buffer=64k flush=1s" if plan.has_log else "off"
    config.write_text(
        f"{'user root;' if _IS_ROOT else ''} worker_processes 1; daemon off;\n"
        f"pid {own}/pid; error_log {own}/error.log; worker_rlimit_nofile 20000;\n"
        "events { worker_connections 8192; }\n"
        "http {\nsendfile on; tcp_nopush on; keepalive_requests 1000000000;\n"
        f"access_log {log};\nopen_file_cache max=12000 inactive=1h; open_file_cache_valid 1h;\n"
        f"proxy_cache_path {own}/cache levels=1:2 keys_zone=objects:64m inactive=1d "
        f"max_size={plan.room_bytes} use_temp_path=off;\n"
        f"upstream origin {{ server 127.0.0.1:{plan.origin_port}; keepalive 512; "
        "keepalive_requests 1000000000; }\n"
        f"server {{ listen 127.0.0.1:{plan.port} backlog=4096;\n"
        "location / { proxy_pass http://origin; proxy_http_version 1.1;\n"
        'proxy_set_header Connection ""; proxy_cache objects; proxy_cache_key $uri;\n'
        "proxy_cache_valid 200 1d; proxy_cache_lock on; proxy_cache_lock_timeout 60s; } } }\n"
    )
    return ["nginx", "-c", config, "-p", own, "-e", own / "error.log"]


def varnish(plan: Plan) -> Command:
    """In memory, or in a file; its log is another program's work."""
    own = plan.directory
    (own / "default.vcl").write_text(
        'vcl 4.1;\nbackend default { .host = "127.0.0.1"; '
        f'.port = "{plan.origin_port}"; }}\n'
        "sub vcl_hash { hash_data(req.url); return (lookup); }\n"
        "sub vcl_backend_response { set beresp.ttl = 1d; }\n"
    )
    room = plan.room_bytes * 2
    store = f"file,{own}/cache,{room}" if plan.is_on_disk else f"malloc,{room}"
    command: Command = [
        *("varnishd", "-F", "-j", "none", "-n", own / "work", "-f", own / "default.vcl"),
        *("-a", f"127.0.0.1:{plan.port}", "-s", store, "-p", "thread_pools=1"),
        *("-p", "thread_pool_min=200", "-p", "thread_pool_max=4000", "-p", "listen_depth=4096"),
    ]
    if not plan.has_log:
        return command
    log: Command = ["varnishncsa", "-n", own / "work", "-t", "20", "-w", own / "access.log"]
    return ["sh", "-c", f"{_line(command)} & a=$!; {_line(log)} & {_BOTH}"]


_BOTH = "b=$!; trap 'kill $a $b' TERM; wait; wait"


def trafficserver(plan: Plan) -> Command:
    """One thread; whoever wants what is being fetched reads with whoever fetches it."""
    own = plan.directory
    config = own / "etc"
    shutil.copytree(_ATS_CONFIG, config)
    places = {"sysconfdir": config, **dict.fromkeys(_ATS_PLACES, own)}
    layout = {"prefix": "/usr", "exec_prefix": "/usr", "bindir": "/usr/bin", **places}
    (own / "runroot.yaml").write_text("".join(f"{key}: {at}\n" for key, at in layout.items()))
    memory = 0 if plan.is_on_disk else plan.room_bytes
    _write_all(
        config,
        {
            "records.config": _records(plan, memory),
            "remap.config": f"map / {plan.origin}/\nmap {plan.origin}/ {plan.origin}/\n",
            "storage.config": f"{own} {plan.room_bytes * 2 // _MB}M\n",
            "logging.yaml": _ATS_LOG if plan.has_log else "",
            "ip_allow.yaml": _ATS_ALLOW,
        },
    )
    return ["traffic_server", f"--run-root={own / 'runroot.yaml'}"]


def _records(plan: Plan, memory_bytes: int) -> str:
    settings = {
        "http.server_ports STRING": f"{plan.port}:ip-in=127.0.0.1",
        "admin.user_id STRING": "#-1",
        "exec_thread.autoconfig INT": 0,
        "exec_thread.limit INT": 1,
        "accept_threads INT": 0,
        "cache.ram_cache.size INT": memory_bytes,
        "cache.ram_cache.algorithm INT": 1,
        "cache.limits.http.max_alts INT": 5,
        "http.cache.required_headers INT": 0,
        "http.cache.open_read_retry_time INT": 10,
        "http.cache.max_open_read_retries INT": 100,
        "cache.enable_read_while_writer INT": 1,
        "http.background_fill_active_timeout INT": 0,
        "http.background_fill_completed_threshold FLOAT": 0.0,
        "url_remap.remap_required INT": 0,
        "reverse_proxy.enabled INT": 1,
        "net.connections_throttle INT": 15_000,
        "net.max_connections_in INT": 8000,
        "http.keep_alive_no_activity_timeout_in INT": 600,
        "http.per_client.connection.max INT": 0,
        "log.logging_enabled INT": 3 if plan.has_log else 0,
        "diags.debug.enabled INT": 0,
    }
    return "".join(f"CONFIG proxy.config.{name} {value}\n" for name, value in settings.items())


_ATS_LOG = """logging:
  formats:
    - name: squid
      format: '%<chi> - - [%<cqtn>] "%<cqtx>" %<pssc> %<pscl>'
  logs:
    - filename: access
      format: squid
"""
_ATS_ALLOW = """ip_allow:
  - apply: in
    ip_addrs: 127.0.0.1
    action: allow
    methods: ALL
"""


def _write_all(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (directory / name).unlink(missing_ok=True)  # a link to the package's own
        (directory / name).write_text(text)


def _line(command: Command) -> str:
    return shlex.join(map(str, command))
