"""OpenStack Swift with its S3 interface, all of it in one process, on free ports of loopback. For tests.

Usage: python3 swift-s3.py FOLDER QUOTA_BYTES

Keeps everything in FOLDER, which has to take extended attributes, and deletes it at its end. Makes the bucket `store`,
which holds at most QUOTA_BYTES, or no limit for 0. Says `listening on URL` when it takes requests, and ends when its
standard input does: so it never outlives the program that started it.
"""

import os
import shutil
import sys
from array import array

import eventlet

eventlet.patcher.monkey_patch(all=False, socket=True, select=True, thread=True, os=True)

from swift.common import db, utils, wsgi  # noqa: E402
from swift.common.ring.ring import RingData  # noqa: E402
from swift.common.storage_policy import reload_storage_policies  # noqa: E402
from swift.common.swob import Request  # noqa: E402

PARTITION_POWER = 2

BACKEND = """
[DEFAULT]
devices = {folder}/devices
mount_check = false
swift_dir = {folder}
# Nothing here has to survive a power cut.
fallocate_reserve = 0
[app:main]
use = egg:swift#{kind}
# A listing has to know at once what was put: wait for the container's answer, however busy the machine is.
container_update_timeout = 60
"""

PROXY = """
[DEFAULT]
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors gatekeeper s3api tempauth bulk container_quotas slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# One slow answer of a busy machine is no dead device.
error_suppression_limit = 1000000
node_timeout = 60
conn_timeout = 60
recoverable_node_timeout = 60
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
# Small pages, so that whoever lists has to turn them.
max_bucket_listing = 3
# Short parts, so that a test of many need not be long.
min_segment_size = 1024
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:container_quotas]
use = egg:swift#container_quotas
"""


def forget_power_cuts():
    """Nothing here outlives the test, so nothing has to reach a disk."""
    os.fsync = os.fdatasync = lambda _: None
    connect = db.get_db_connection

    def connect_in_haste(*args, **options):
        connection = connect(*args, **options)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    db.get_db_connection = connect_in_haste


class EmptyCache:
    """Stands for memcached, which Swift asks for: a cache that keeps nothing, so every answer is a fresh one."""

    def __getattr__(self, _):
        return lambda *_args, **_options: None


def listen():
    return eventlet.listen(("127.0.0.1", 0), backlog=1024)


def write_ring(folder, kind, port):
    device = dict(id=0, zone=1, region=1, ip="127.0.0.1", port=port, device="disk", weight=1,
                  replication_ip="127.0.0.1", replication_port=port)
    table = [array("H", [0] * (1 << PARTITION_POWER))]
    RingData(table, [device], 32 - PARTITION_POWER).save(os.path.join(folder, kind + ".ring.gz"))


def serve(sock, config, name):
    path = os.path.abspath(config)
    app = wsgi.loadapp(path, global_conf={"log_name": name})
    cache = EmptyCache()

    def with_cache(environ, start_response):
        environ["swift.cache"] = cache
        return app(environ, start_response)

    eventlet.spawn(wsgi.wsgi.server, sock, with_cache, wsgi.NullLogger(), max_size=4096,
                   protocol=wsgi.SwiftHttpProtocol, capitalize_response_headers=False)
    return app


def write_config(folder, name, text, **values):
    path = os.path.join(folder, name + ".conf")
    with open(path, "w") as file:
        file.write(text.format(folder=folder, **values))
    return path


def make_bucket(proxy, quota):
    """Past the proxy's own access control: only the S3 interface has users here."""
    headers = {"X-Container-Meta-Quota-Bytes": str(quota)} if quota else {}
    for name in ("store", "store+segments"):
        request = Request.blank("/v1/AUTH_test/" + name, method="PUT", headers=headers)
        request.environ["swift.authorize"] = lambda _: None
        response = request.get_response(proxy)
        if response.status_int // 100 != 2:
            raise SystemExit("cannot make %s: %s" % (name, response.status))


def main(folder, quota):
    forget_power_cuts()
    os.makedirs(os.path.join(folder, "devices", "disk"), exist_ok=True)
    with open(os.path.join(folder, "swift.conf"), "w") as file:
        file.write("[swift-hash]\nswift_hash_path_suffix = test\n")
    utils.set_swift_dir(folder)
    reload_storage_policies()
    for kind in ("account", "container", "object"):
        sock = listen()
        write_ring(folder, kind, sock.getsockname()[1])
        serve(sock, write_config(folder, kind, BACKEND, kind=kind), kind)
    sock = listen()
    port = sock.getsockname()[1]
    proxy = serve(sock, write_config(folder, "proxy", PROXY), "proxy")
    make_bucket(proxy._pipeline_final_app, quota)
    print("listening on http://127.0.0.1:%d" % port, flush=True)
    eventlet.tpool.execute(sys.stdin.read)


try:
    main(sys.argv[1], int(sys.argv[2]))
finally:
    shutil.rmtree(sys.argv[1], ignore_errors=True)
