//! The display's keyboard, played by symbol: whatever layout it has, and whatever layout the controller's has.

use std::collections::{BTreeMap, VecDeque};

use rustix::event::{Timespec, poll};
use x11rb::{
    connection::Connection as _,
    protocol::xproto::{self, ConnectionExt as _, KeyButMask, Keycode, Keysym, Window},
    rust_connection::RustConnection,
};

use super::{
    DesktopError, fake,
    keymap::{Found, Keymap, is_function, keysym_of, to_char},
};

const SHIFT_L: Keysym = 0xffe1;
const SHIFT_R: Keysym = 0xffe2;
const LEVEL_3: Keysym = 0xfe03;
const MODE_SWITCH: Keysym = 0xff7e;

/// Spare keys that symbols are bound to in turn. The more, the later one is bound anew, and programs that are slow to read the
/// map have read it by then.
const MOST_SPARE: usize = 24;

/// How long programs have to read the map that a symbol was bound in before its key is pressed: some read it apart from the
/// keys, and would find nothing there. Without, Chromium lost one in five on a busy machine.
const SETTLE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// A display's keyboard.
#[derive(Debug)]
pub(super) struct Keyboard {
    map: Keymap,
    /// The map is to be read again.
    pub(super) is_stale: bool,
    shift: Option<Keycode>,
    third: Option<Keycode>,
    /// The modifier that the key for third symbols sets.
    third_mask: u16,
    /// Spare keys, the one that was bound longest ago first.
    spare: VecDeque<Keycode>,
    /// Which key is pressed for which symbol.
    pressed: BTreeMap<Keysym, Keycode>,
}

impl Keyboard {
    pub(super) fn read(connection: &RustConnection) -> Result<Self, DesktopError> {
        let mut keyboard = Self {
            map: Keymap::default(),
            is_stale: true,
            shift: None,
            third: None,
            third_mask: 0,
            spare: VecDeque::new(),
            pressed: BTreeMap::new(),
        };
        keyboard.refresh(connection)?;
        Ok(keyboard)
    }

    fn refresh(&mut self, connection: &RustConnection) -> Result<(), DesktopError> {
        if !self.is_stale {
            return Ok(());
        }
        let setup = connection.setup();
        let (first, last) = (setup.min_keycode, setup.max_keycode);
        let map = connection.get_keyboard_mapping(first, last - first + 1)?;
        let modifiers = connection.get_modifier_mapping()?;
        let map = map.reply()?;
        self.map = Keymap {
            first,
            width: map.keysyms_per_keycode.into(),
            symbols: map.keysyms,
        };
        self.shift = self.map.key_of(SHIFT_L).or_else(|| self.map.key_of(SHIFT_R));
        self.third = self.map.key_of(LEVEL_3).or_else(|| self.map.key_of(MODE_SWITCH));
        let modifiers = modifiers.reply()?;
        let width = usize::from(modifiers.keycodes_per_modifier()).max(1);
        let rows = modifiers.keycodes.chunks(width);
        let is_third = |keys: &[Keycode]| self.third.is_some_and(|third| keys.contains(&third));
        self.third_mask = rows
            .zip(0..8)
            .find(|(keys, _)| is_third(keys))
            .map_or(0, |(_, bit)| 1 << bit);
        // Another layout may have use for what was spare.
        let free = self.map.spare();
        self.spare.retain(|keycode| free.contains(keycode));
        for keycode in free {
            if self.spare.len() < MOST_SPARE && !self.spare.contains(&keycode) {
                self.spare.push_front(keycode);
            }
        }
        self.is_stale = false;
        Ok(())
    }

    /// Presses whatever gives a symbol.
    pub(super) fn press(
        &mut self,
        connection: &RustConnection,
        root: Window,
        keysym: Keysym,
    ) -> Result<(), DesktopError> {
        self.refresh(connection)?;
        if is_function(keysym) {
            // A keyboard without such a key does not have it.
            if let Some(keycode) = self.map.key_of(keysym) {
                self.hit(connection, keysym, keycode)?;
            }
            return Ok(());
        }
        let mask = u16::from(connection.query_pointer(root)?.reply()?.mask);
        let found = match self.find(keysym, mask) {
            Some(found) => found,
            None => {
                let found = self.bind(connection, keysym)?;
                settle();
                found
            }
        };
        self.hit_with_modifiers(connection, keysym, found, mask)
    }

    /// Presses a key under the modifiers that its symbol takes, and has them be as they were at once.
    fn hit_with_modifiers(
        &mut self,
        connection: &RustConnection,
        keysym: Keysym,
        found: Found,
        mask: u16,
    ) -> Result<(), DesktopError> {
        let is_locked = mask & u16::from(KeyButMask::LOCK) != 0;
        let wants_shift = (found.level & 1 != 0) != (is_locked && found.is_letter);
        let has_shift = mask & u16::from(KeyButMask::SHIFT) != 0;
        let (wants_third, has_third) = (found.level & 2 != 0, mask & self.third_mask != 0);
        // A key that was bound has its symbol either way.
        let is_either = self.spare.contains(&found.keycode);
        let mut changed = Vec::new();
        if wants_shift != has_shift && !is_either {
            let held = [SHIFT_L, SHIFT_R]
                .into_iter()
                .filter_map(|shift| self.pressed.get(&shift).copied());
            let keys: Vec<Keycode> = if wants_shift {
                self.shift.into_iter().collect()
            } else {
                held.collect()
            };
            changed.extend(keys.into_iter().map(|keycode| (keycode, wants_shift)));
        }
        if wants_third != has_third && !is_either {
            changed.extend(self.third.map(|keycode| (keycode, wants_third)));
        }
        for (keycode, down) in &changed {
            key(connection, *keycode, *down)?;
        }
        self.hit(connection, keysym, found.keycode)?;
        for (keycode, down) in changed.iter().rev() {
            key(connection, *keycode, !down)?;
        }
        Ok(())
    }

    fn hit(&mut self, connection: &RustConnection, keysym: Keysym, keycode: Keycode) -> Result<(), DesktopError> {
        // The same key for another symbol, or for this one: it is pressed anew.
        if self.pressed.values().any(|pressed| *pressed == keycode) {
            self.pressed.retain(|_, pressed| *pressed != keycode);
            key(connection, keycode, false)?;
        }
        self.pressed.insert(keysym, keycode);
        key(connection, keycode, true)
    }

    /// Lets go of what was pressed for a symbol.
    pub(super) fn let_go(&mut self, connection: &RustConnection, keysym: Keysym) -> Result<(), DesktopError> {
        match self.pressed.remove(&keysym) {
            Some(keycode) => key(connection, keycode, false),
            None => Ok(()),
        }
    }

    /// Where a symbol is, with what the server says is held.
    fn find(&self, keysym: Keysym, mask: u16) -> Option<Found> {
        // Where the server tells which group of its map is in force (XKB).
        let group = usize::from(mask >> 13 & 3);
        let has_third = self.third.is_some() && self.third_mask != 0;
        self.map.find(keysym, group, has_third)
    }

    /// Types a text. What has no symbol is left out.
    pub(super) fn write(&mut self, connection: &RustConnection, root: Window, text: &str) -> Result<(), DesktopError> {
        self.refresh(connection)?;
        let mask = u16::from(connection.query_pointer(root)?.reply()?.mask);
        let is_typed = |character: &char| !character.is_control() || "\n\t".contains(*character);
        let symbols: Vec<Keysym> = text.chars().filter(is_typed).map(keysym_of).collect();
        let mut rest = symbols.as_slice();
        while !rest.is_empty() {
            // As many at once as there are spare keys, so that programs are given their time once.
            let (mut ready, mut bound) = (0, 0);
            for symbol in rest {
                if !is_function(*symbol) && self.find(*symbol, mask).is_none() {
                    if bound > 0 && bound == self.spare.len() {
                        break;
                    }
                    self.bind(connection, *symbol)?;
                    bound += 1;
                }
                ready += 1;
            }
            if bound > 0 {
                settle();
            }
            let (now, later) = rest.split_at(ready);
            for symbol in now {
                self.press(connection, root, *symbol)?;
                self.let_go(connection, *symbol)?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Gives a symbol to a spare key that is not pressed, the one that has had its own for longest.
    fn bind(&mut self, connection: &RustConnection, keysym: Keysym) -> Result<Found, DesktopError> {
        let is_pressed = |keycode: &Keycode| self.pressed.values().any(|pressed| pressed == keycode);
        let at = self.spare.iter().position(|keycode| !is_pressed(keycode));
        let Some(keycode) = at.and_then(|at| self.spare.remove(at)) else {
            return Err(DesktopError::NoKey(to_char(keysym).unwrap_or('?')));
        };
        self.spare.push_back(keycode);
        connection
            .change_keyboard_mapping(1, keycode, 2, &[keysym, keysym])?
            .check()?;
        self.map.bind(keycode, keysym);
        Ok(Found {
            keycode,
            level: 0,
            is_letter: false,
        })
    }
}

/// Nothing is waited for but the time.
fn settle() {
    _ = poll(&mut [], Some(&SETTLE));
}

fn key(connection: &RustConnection, keycode: Keycode, down: bool) -> Result<(), DesktopError> {
    let kind = if down {
        xproto::KEY_PRESS_EVENT
    } else {
        xproto::KEY_RELEASE_EVENT
    };
    fake(connection, kind, keycode)
}
