#!/bin/sh
# Writes the page once, then becomes the web server.
set -e
echo "Hello from $(hostname)" >/srv/index.html
echo "hello: $(hostname) listens on port ${PORT:=8080}"
exec /bin/busybox httpd -f -v -p "$PORT" -h /srv
