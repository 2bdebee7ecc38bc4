//! A layer between SQLite and the system that notes down every write, sync, cut and removal, in the order
//! in which they are made, and lets them happen.
//!
//! SQLite calls it in the thread that calls SQLite, so each test notes down its own.

#![allow(unsafe_code)] // SQLite's file layer is a table of C functions.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Once;

use rusqlite::ffi::{
    SQLITE_OK, sqlite3_file, sqlite3_filename, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
    sqlite3_vfs_find, sqlite3_vfs_register,
};

/// Something that was done to a file, which is named as it is in its directory.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Write { file: String, at: usize, bytes: Vec<u8> },
    Truncate { file: String, len: usize },
    Sync { file: String },
    Delete { file: String },
}

thread_local! {
    static NOTES: RefCell<Option<Vec<Op>>> = const { RefCell::new(None) };
}

/// Begins to note down.
pub(crate) fn record() {
    install();
    NOTES.set(Some(Vec::new()));
}

/// What was noted down since the last time this was asked.
pub(crate) fn take() -> Vec<Op> {
    NOTES.with_borrow_mut(|notes| notes.as_mut().map(std::mem::take).unwrap_or_default())
}

/// Ends noting down.
pub(crate) fn stop() {
    NOTES.set(None);
}

fn note(op: impl FnOnce() -> Op) {
    NOTES.with_borrow_mut(|notes| {
        if let Some(notes) = notes {
            notes.push(op());
        }
    });
}

/// A file of ours; that of the system's own layer lies behind it in memory.
#[repr(C)]
struct File {
    base: sqlite3_file,
    name: *mut String,
    real: *mut sqlite3_file,
}

/// Puts the layer in place for this process.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the layer that is found lives as long as the process, and the copy of it does, too.
        unsafe {
            let real = sqlite3_vfs_find(std::ptr::null());
            let mut layer = *real;
            layer.szOsFile += size_of::<File>() as c_int;
            layer.zName = c"noting".as_ptr();
            layer.pAppData = real.cast();
            layer.xOpen = Some(open);
            layer.xDelete = Some(delete);
            let installed = sqlite3_vfs_register(Box::leak(Box::new(layer)), 1);
            assert_eq!(installed, SQLITE_OK);
        }
    });
}

/// The last part of a path.
unsafe fn name_of(path: *const c_char) -> String {
    if path.is_null() {
        return String::new();
    }
    // SAFETY: SQLite's paths end in NUL.
    let path = unsafe { CStr::from_ptr(path) }.to_string_lossy();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

// SAFETY of all that follows: SQLite calls these with a file that `open` has filled, and keeps to the
// contract of its own layers; each call is passed on to the layer below with the file of that layer.

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    path: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    unsafe {
        let below: *mut sqlite3_vfs = (*vfs).pAppData.cast();
        let mine: *mut File = file.cast();
        let real: *mut sqlite3_file = mine.add(1).cast();
        let done = match (*below).xOpen {
            Some(open) => open(below, path, real, flags, out),
            None => rusqlite::ffi::SQLITE_ERROR,
        };
        (*mine).base.pMethods = std::ptr::null();
        if !(*real).pMethods.is_null() {
            (*mine).base.pMethods = &METHODS;
            (*mine).name = Box::into_raw(Box::new(name_of(path)));
            (*mine).real = real;
        }
        done
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, path: *const c_char, sync: c_int) -> c_int {
    unsafe {
        note(|| Op::Delete { file: name_of(path) });
        let below: *mut sqlite3_vfs = (*vfs).pAppData.cast();
        (*below).xDelete.map_or(SQLITE_OK, |delete| delete(below, path, sync))
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    unsafe {
        let mine: *mut File = file.cast();
        drop(Box::from_raw((*mine).name));
        let real = (*mine).real;
        (*(*real).pMethods).xClose.map_or(SQLITE_OK, |close| close(real))
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    len: c_int,
    at: sqlite3_int64,
) -> c_int {
    unsafe {
        let mine: *mut File = file.cast();
        let data = std::slice::from_raw_parts(bytes.cast::<u8>(), len as usize);
        note(|| Op::Write { file: (*(*mine).name).clone(), at: at as usize, bytes: data.to_vec() });
        let real = (*mine).real;
        (*(*real).pMethods).xWrite.map_or(SQLITE_OK, |write| write(real, bytes, len, at))
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, len: sqlite3_int64) -> c_int {
    unsafe {
        let mine: *mut File = file.cast();
        note(|| Op::Truncate { file: (*(*mine).name).clone(), len: len as usize });
        let real = (*mine).real;
        (*(*real).pMethods).xTruncate.map_or(SQLITE_OK, |truncate| truncate(real, len))
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    unsafe {
        let mine: *mut File = file.cast();
        note(|| Op::Sync { file: (*(*mine).name).clone() });
        let real = (*mine).real;
        (*(*real).pMethods).xSync.map_or(SQLITE_OK, |sync| sync(real, flags))
    }
}

/// A function that is passed on as it is.
macro_rules! pass_on {
    ($name:ident, $method:ident $(, $arg:ident: $type:ty)*) => {
        unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $arg: $type)*) -> c_int {
            unsafe {
                let real = (*file.cast::<File>()).real;
                (*(*real).pMethods).$method.map_or(SQLITE_OK, |method| method(real $(, $arg)*))
            }
        }
    };
}

pass_on!(read, xRead, into: *mut c_void, len: c_int, at: sqlite3_int64);
pass_on!(file_size, xFileSize, into: *mut sqlite3_int64);
pass_on!(lock, xLock, level: c_int);
pass_on!(unlock, xUnlock, level: c_int);
pass_on!(check_reserved_lock, xCheckReservedLock, into: *mut c_int);
pass_on!(file_control, xFileControl, op: c_int, arg: *mut c_void);
pass_on!(sector_size, xSectorSize);
pass_on!(device_characteristics, xDeviceCharacteristics);

/// Version 1: no memory that is shared with other processes, which the journal does not use.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};
