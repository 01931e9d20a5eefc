//! A desktop whose screen changes while it is captured.

use std::time::{Duration, Instant};

use framebridge_proto::encoder::SourceState;
use x11rb::{
    NONE,
    connection::Connection as _,
    protocol::{
        randr::{ConnectionExt as _, Rotation},
        xproto::{ConnectionExt as _, CreateGCAux, Gcontext, Rectangle, Window},
    },
    rust_connection::RustConnection,
    wrapper::ConnectionExt as _,
};

use crate::{faults::XServer, harness::Encoder};

/// No picture is missed for longer, whatever becomes of the screen's size.
const GAP: Duration = Duration::from_millis(500);

/// A connection to the screen, to change it.
struct Screen {
    connection: RustConnection,
    root: Window,
    brush: Gcontext,
}

impl Screen {
    fn of(server: &XServer) -> Self {
        let (connection, screen) = RustConnection::connect(Some(&server.display)).unwrap();
        let root = connection.setup().roots[screen].root;
        let brush = connection.generate_id().unwrap();
        connection.create_gc(brush, root, &CreateGCAux::new()).unwrap();
        Self {
            connection,
            root,
            brush,
        }
    }

    /// As `xrandr --fb` does. What shows the screen is turned off first: no server makes it smaller than that.
    fn resize(&self, width: u16, height: u16) {
        let connection = &self.connection;
        connection.randr_query_version(1, 3).unwrap().reply().unwrap();
        let found = connection
            .randr_get_screen_resources(self.root)
            .unwrap()
            .reply()
            .unwrap();
        for crtc in found.crtcs {
            let since = found.config_timestamp;
            let off = connection.randr_set_crtc_config(crtc, 0, since, 0, 0, NONE, Rotation::ROTATE0, &[]);
            off.unwrap().reply().unwrap();
        }
        let resized = connection.randr_set_screen_size(self.root, width, height, 100, 100);
        resized.unwrap().check().unwrap();
    }

    /// Paints something, so that there is something to see.
    fn paint(&self, at: i16) {
        let spot = Rectangle {
            x: at,
            y: 0,
            width: 8,
            height: 8,
        };
        self.connection
            .poly_fill_rectangle(self.root, self.brush, &[spot])
            .unwrap();
        self.connection.sync().unwrap();
    }
}

#[tokio::test]
async fn screen_that_changes_its_size_is_followed_without_a_gap_and_is_no_fault() {
    let server = XServer::start(None);
    let screen = Screen::of(&server);
    let encoder = Encoder::start(&format!("x11:{}", server.display), "");
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    let mut gaps = Vec::new();
    for (turn, (width, height)) in [(320, 240), (640, 480), (400, 400), (640, 320)].into_iter().enumerate() {
        screen.paint(i16::try_from(turn).unwrap());
        subscriber.frame().await;
        let changed = Instant::now();
        screen.resize(width, height);
        loop {
            let frame = subscriber.frame().await;
            let parameters = subscriber.parameters.as_ref().unwrap();
            if (parameters.width, parameters.height) == (u32::from(width), u32::from(height)) {
                assert!(frame.keyframe);
                break;
            }
        }
        gaps.push(changed.elapsed());
    }
    // On a machine that does much else one may take longer.
    gaps.sort();
    assert!(gaps[1] < GAP, "{gaps:?}");
    let faults = subscriber
        .states
        .iter()
        .filter(|state| matches!(state, SourceState::Unavailable { .. }));
    assert_eq!(faults.count(), 0, "{:?}", subscriber.states);
}
