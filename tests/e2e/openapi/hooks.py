"""What schemathesis is told of our bodies: they are text, and it has to make some up."""

import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def text(ctx, value):
    return str(value).encode("utf-8", errors="replace")
