#pragma once
/**
 * Pins: names in a BPF file system that keep maps and links alive when nobody runs.
 * Path: FOLDER/INSTANCE/NAME. Instance and name have passed dog_hands_request_read, so they hold
 * no slash and no leading dot.
 */
#include "base/err.h"

/**
 * Make the folder (0700) on a BPF file system. When its place is on none, one is mounted: at
 * /sys/fs/bpf for a folder below that, else at the folder itself.
 */
int dog_pin_folder_make(const char *folder, struct dog_err *e);

/** A descriptor of what is pinned there, or -ENOENT. */
int dog_pin_get(const char *folder, const char *instance, const char *name);
/** Pin, taking the place of what had that name in one step. */
int dog_pin_put(const char *folder, const char *instance, const char *name, int fd, struct dog_err *e);
/** 0 also when there was none. */
int dog_pin_remove(const char *folder, const char *instance, const char *name, struct dog_err *e);
/** Call `visit` with name and descriptor of every pin of every instance; it keeps neither. */
int dog_pin_each(const char *folder, void (*visit)(const char *name, int fd, void *data), void *data);
/** Remove all pins of an instance, and its folder. */
int dog_pin_forget(const char *folder, const char *instance, struct dog_err *e);
