#include "hands/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_FILE_MOST 4096

int dog_secret_open(const char *path, struct dog_err *e)
{
        struct stat st;
        /* Non-blocking: a FIFO in its place would otherwise hang us. */
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return dog_err_set(e, -errno, "key file %s: cannot be read: %s", path, strerror(errno));
        int rc = 0;
        if (fstat(fd, &st) < 0)
                rc = dog_err_set(e, -errno, "key file %s: %s", path, strerror(errno));
        else if (!S_ISREG(st.st_mode))
                rc = dog_err_set(e, -EINVAL, "key file %s: not a regular file", path);
        else if (st.st_mode & (S_IRWXG | S_IRWXO))
                rc = dog_err_set(
                        e, -EACCES,
                        "key file %s: others than its owner may read or change it (mode %03o): run \"chmod "
                        "600 %s\" and make a new key, for this one may be known",
                        path, st.st_mode & 0777, path);
        else if (st.st_size > SECRET_FILE_MOST)
                rc = dog_err_set(e, -EFBIG, "key file %s: %lld bytes, a key has 64 characters", path,
                                 (long long)st.st_size);
        if (rc < 0) {
                close(fd);
                return rc;
        }
        return fd;
}

int dog_secret_key_read(uint8_t key[DOG_SECRET_KEY], int fd, struct dog_err *e)
{
        char text[SECRET_FILE_MOST + 1];
        const char *end = NULL;
        size_t length = 0;
        sodium_memzero(key, DOG_SECRET_KEY);
        ssize_t got = pread(fd, text, SECRET_FILE_MOST, 0);
        if (got < 0)
                return dog_err_set(e, -errno, "key file: cannot be read: %s", strerror(errno));
        text[got] = 0;
        const char *start = text + strspn(text, " \t\r\n");
        size_t n = strcspn(start, " \t\r\n");
        /* 64 characters of hexadecimal are base64 too, but of 48 bytes: no ambiguity. */
        int rc = sodium_hex2bin(key, DOG_SECRET_KEY, start, n, NULL, &length, &end);
        bool is_key = rc == 0 && n == 2 * DOG_SECRET_KEY && end == start + n && length == DOG_SECRET_KEY;
        if (!is_key) {
                rc = sodium_base642bin(key, DOG_SECRET_KEY, start, n, NULL, &length, &end,
                                       sodium_base64_VARIANT_ORIGINAL);
                is_key = rc == 0 && end == start + n && length == DOG_SECRET_KEY;
        }
        bool is_alone = start[n + strspn(start + n, " \t\r\n")] == 0 && strlen(text) == (size_t)got;
        sodium_memzero(text, sizeof(text));
        if (is_key && is_alone)
                return 0;
        sodium_memzero(key, DOG_SECRET_KEY);
        return dog_err_set(
                e, -EINVAL,
                "key file: a key is 32 bytes, written as 64 hexadecimal digits or 44 characters of base64, "
                "and nothing else; make one with \"openssl rand -hex 32\"");
}
