#pragma once
/**
 * Key files. Hands opens them (root may; the decider may not) and hands over the descriptor; the
 * decider reads it. A file that others than its owner can read is refused, because by then it is
 * no secret any more.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define DOG_SECRET_KEY 32

/**
 * Open a key file for reading.
 * @return a descriptor, which the caller closes; -ENOENT, -EACCES (cannot be read, or the group or
 *         the world can), -EINVAL (not a regular file), -EFBIG
 */
int dog_secret_open(const char *path, struct dog_err *e);

/**
 * Read a key of 32 bytes, written as 64 hexadecimal digits or in base64, from the start of fd.
 * White space around it is ignored. The descriptor stays open.
 * @return 0 or -EINVAL with what was expected; `key` is then zeroed
 */
int dog_secret_key_read(uint8_t key[DOG_SECRET_KEY], int fd, struct dog_err *e);
