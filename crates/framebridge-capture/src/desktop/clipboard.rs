//! The display's clipboard: what a controller copies at home is there to paste, and what is copied there is told.

use framebridge_proto::limits::MAX_CLIPBOARD;
use x11rb::{
    COPY_DEPTH_FROM_PARENT, CURRENT_TIME, NONE,
    connection::Connection as _,
    protocol::{
        Event,
        xfixes::{ConnectionExt as _, SelectionEventMask},
        xproto::{
            AtomEnum, ConnectionExt as _, CreateWindowAux, EventMask, PropMode, SELECTION_NOTIFY_EVENT,
            SelectionNotifyEvent, SelectionRequestEvent, Window, WindowClass,
        },
    },
    rust_connection::RustConnection,
    wrapper::ConnectionExt as _,
};

use super::DesktopError;

x11rb::atom_manager! {
    /// Names that both ends of a clipboard know.
    pub(super) Atoms: AtomsCookie {
        CLIPBOARD,
        UTF8_STRING,
        TEXT,
        TARGETS,
        TEXT_PLAIN: b"text/plain;charset=utf-8",
        FRAMEBRIDGE_CLIPBOARD,
    }
}

/// A display's clipboard.
#[derive(Debug)]
pub(super) struct Clipboard {
    window: Window,
    atoms: Atoms,
    /// What we have there, while it is ours.
    text: String,
}

impl Clipboard {
    pub(super) fn open(connection: &RustConnection, root: Window) -> Result<Self, DesktopError> {
        let atoms = Atoms::new(connection)?.reply()?;
        connection.xfixes_query_version(5, 0)?.reply()?;
        let window = connection.generate_id()?;
        let aux = CreateWindowAux::new();
        let class = WindowClass::INPUT_OUTPUT;
        connection
            .create_window(COPY_DEPTH_FROM_PARENT, window, root, 0, 0, 1, 1, 0, class, 0, &aux)?
            .check()?;
        connection
            .xfixes_select_selection_input(window, atoms.CLIPBOARD, SelectionEventMask::SET_SELECTION_OWNER)?
            .check()?;
        Ok(Self {
            window,
            atoms,
            text: String::new(),
        })
    }

    /// From now on this is what is pasted.
    pub(super) fn set(&mut self, connection: &RustConnection, text: &str) -> Result<(), DesktopError> {
        text.clone_into(&mut self.text);
        connection.set_selection_owner(self.window, self.atoms.CLIPBOARD, CURRENT_TIME)?;
        Ok(())
    }

    /// Takes in an event. Returns a text that was copied, which is asked for only if it is wanted.
    pub(super) fn on_event(
        &mut self,
        connection: &RustConnection,
        event: &Event,
        wants_text: bool,
    ) -> Result<Option<String>, DesktopError> {
        if let Event::SelectionRequest(request) = event {
            self.answer(connection, request)?;
        } else if let Event::XfixesSelectionNotify(change) = event
            && wants_text
            && change.owner != self.window
            && change.owner != NONE
        {
            let (clipboard, property) = (self.atoms.CLIPBOARD, self.atoms.FRAMEBRIDGE_CLIPBOARD);
            let text = self.atoms.UTF8_STRING;
            connection.convert_selection(self.window, clipboard, text, property, change.selection_timestamp)?;
        } else if let Event::SelectionNotify(told) = event
            && wants_text
            && told.requestor == self.window
            && told.property != NONE
        {
            return self.fetch(connection);
        }
        Ok(None)
    }

    /// What was copied; `None` for what is no text, or too much, or comes in pieces.
    fn fetch(&self, connection: &RustConnection) -> Result<Option<String>, DesktopError> {
        let most = u32::try_from(MAX_CLIPBOARD / 4 + 1).unwrap_or(u32::MAX);
        let property = self.atoms.FRAMEBRIDGE_CLIPBOARD;
        let kind = AtomEnum::ANY;
        let found = connection
            .get_property(true, self.window, property, kind, 0, most)?
            .reply()?;
        if found.bytes_after > 0 {
            connection.delete_property(self.window, property)?;
        }
        let is_text = found.type_ == self.atoms.UTF8_STRING && found.format == 8 && found.bytes_after == 0;
        Ok(Some(found.value)
            .filter(|value| is_text && value.len() <= MAX_CLIPBOARD)
            .and_then(|value| String::from_utf8(value).ok()))
    }

    fn answer(&self, connection: &RustConnection, request: &SelectionRequestEvent) -> Result<(), DesktopError> {
        let Atoms {
            UTF8_STRING,
            TEXT,
            TARGETS,
            TEXT_PLAIN,
            ..
        } = self.atoms;
        // Old programs name no property, and mean the target's (ICCCM, section 2.2).
        let property = if request.property == NONE {
            request.target
        } else {
            request.property
        };
        let (mode, to) = (PropMode::REPLACE, request.requestor);
        let is_given = if request.target == TARGETS {
            let targets = [TARGETS, UTF8_STRING, TEXT_PLAIN, TEXT];
            connection.change_property32(mode, to, property, AtomEnum::ATOM, &targets)?;
            true
        } else if [UTF8_STRING, TEXT_PLAIN, TEXT].contains(&request.target) {
            let kind = if request.target == TEXT {
                UTF8_STRING
            } else {
                request.target
            };
            connection.change_property8(mode, to, property, kind, self.text.as_bytes())?;
            true
        } else {
            false
        };
        let told = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: request.requestor,
            selection: request.selection,
            target: request.target,
            property: if is_given { property } else { NONE },
        };
        connection.send_event(false, request.requestor, EventMask::NO_EVENT, told)?;
        Ok(())
    }
}
