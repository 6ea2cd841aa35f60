#pragma once
/**
 * A disk that fails on request: an SQLite VFS around the real one. For tests only.
 *
 * After fault_vfs_install() every database of the process goes through it. Faults count operations
 * of a kind, so that "the nth write fails" can be walked through.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fault_vfs {
        int write_rc; /**< what writes return: 0, or an SQLite code such as SQLITE_IOERR_WRITE */
        int sync_rc;
        int read_rc;
        int open_rc;
        long after;      /**< this many operations succeed before the codes above apply */
        bool once;       /**< the fault clears itself after it has struck */
        long sync_ms;    /**< each fsync takes this long */
        long operations; /**< writes, syncs, truncations, reads and opens so far */

        bool is_recording; /**< keep what reached the disk, for fault_vfs_replay() */
};

extern struct fault_vfs fault_vfs;

void fault_vfs_install(void);

/** How many changes of files have been recorded. */
size_t fault_vfs_recorded(void);
void fault_vfs_forget(void);

/**
 * What a disk would hold had the power failed after `count` changes: written into folder `to`, under
 * the names the files had. With `lost_unsynced`, changes of a file after its last fsync are gone.
 * @return 0 or -1
 */
int fault_vfs_replay(const char *to, size_t count, bool lost_unsynced);
