#include "hands/pin.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PIN_SYSTEM "/sys/fs/bpf"
#define PIN_PATH   256

static bool pin_is_bpffs(const char *path)
{
        struct statfs st;
        return statfs(path, &st) == 0 && (unsigned long)st.f_type == BPF_FS_MAGIC;
}

static int pin_mkdir_all(const char *folder, struct dog_err *e)
{
        char path[PIN_PATH];
        if ((size_t)snprintf(path, sizeof(path), "%s", folder) >= sizeof(path))
                return dog_err_set(e, -ENAMETOOLONG, "pin folder %s: the path is too long", folder);
        for (char *slash = path + 1;; slash++) {
                if (*slash != '/' && *slash != 0)
                        continue;
                char was = *slash;
                *slash = 0;
                if (mkdir(path, 0700) < 0 && errno != EEXIST)
                        return dog_err_set(e, -errno, "pin folder %s: cannot make %s: %s", folder, path,
                                           strerror(errno));
                *slash = was;
                if (!was)
                        return 0;
        }
}

int dog_pin_folder_make(const char *folder, struct dog_err *e)
{
        bool below_system = strncmp(folder, PIN_SYSTEM "/", sizeof(PIN_SYSTEM)) == 0;
        const char *mount_at = below_system ? PIN_SYSTEM : folder;
        int rc = below_system ? 0 : pin_mkdir_all(folder, e);
        if (rc < 0)
                return rc;
        if (!pin_is_bpffs(mount_at) &&
            mount("bpf", mount_at, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
                return dog_err_set(e, -errno, "pin folder %s: cannot mount a BPF file system at %s: %s",
                                   folder, mount_at, strerror(errno));
        rc = pin_mkdir_all(folder, e);
        if (rc == 0 && chmod(folder, 0700) < 0)
                rc = dog_err_set(e, -errno, "pin folder %s: %s", folder, strerror(errno));
        return rc;
}

/* A BPF file system refuses dots in names (eth0.100 has one); "+" is in none of ours. */
static void pin_path(char *to, const char *folder, const char *instance, const char *name, const char *end)
{
        size_t head = strlen(folder);
        snprintf(to, PIN_PATH, "%s/%s%s%s%s", folder, instance, name ? "/" : "", name ? name : "", end);
        for (char *c = to + head; head < PIN_PATH && *c; c++)
                if (*c == '.')
                        *c = '+';
}

int dog_pin_get(const char *folder, const char *instance, const char *name)
{
        char path[PIN_PATH];
        pin_path(path, folder, instance, name, "");
        int fd = bpf_obj_get(path);
        return fd < 0 ? -ENOENT : fd;
}

int dog_pin_put(const char *folder, const char *instance, const char *name, int fd, struct dog_err *e)
{
        char path[PIN_PATH], fresh[PIN_PATH];
        pin_path(path, folder, instance, NULL, "");
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return dog_err_set(e, -errno, "cannot make pin folder %s: %s", path, strerror(errno));
        pin_path(path, folder, instance, name, "");
        pin_path(fresh, folder, instance, name, "~");
        (void)unlink(fresh);
        if (bpf_obj_pin(fd, fresh) < 0)
                return dog_err_set(e, -errno, "cannot pin %s: %s", path, strerror(errno));
        if (rename(fresh, path) < 0) {
                int rc = dog_err_set(e, -errno, "cannot pin %s: %s", path, strerror(errno));
                (void)unlink(fresh);
                return rc;
        }
        return 0;
}

int dog_pin_remove(const char *folder, const char *instance, const char *name, struct dog_err *e)
{
        char path[PIN_PATH];
        pin_path(path, folder, instance, name, "");
        if (unlink(path) < 0 && errno != ENOENT)
                return dog_err_set(e, -errno, "cannot remove pin %s: %s", path, strerror(errno));
        return 0;
}

static void pin_each_in(const char *folder, const char *instance,
                        void (*visit)(const char *name, int fd, void *data), void *data)
{
        char path[PIN_PATH];
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, instance) >= sizeof(path))
                return;
        DIR *dir = opendir(path);
        if (!dir)
                return;
        for (const struct dirent *d = readdir(dir); d; d = readdir(dir)) {
                char pin[PIN_PATH + 256];
                snprintf(pin, sizeof(pin), "%s/%s", path, d->d_name);
                int fd = d->d_name[0] == '.' ? -1 : bpf_obj_get(pin);
                if (fd < 0)
                        continue;
                visit(d->d_name, fd, data);
                close(fd);
        }
        closedir(dir);
}

int dog_pin_each(const char *folder, void (*visit)(const char *name, int fd, void *data), void *data)
{
        DIR *dir = opendir(folder);
        if (!dir)
                return -errno;
        for (const struct dirent *d = readdir(dir); d; d = readdir(dir))
                if (d->d_name[0] != '.')
                        pin_each_in(folder, d->d_name, visit, data);
        closedir(dir);
        return 0;
}

int dog_pin_forget(const char *folder, const char *instance, struct dog_err *e)
{
        char path[PIN_PATH];
        pin_path(path, folder, instance, NULL, "");
        DIR *dir = opendir(path);
        if (!dir)
                return errno == ENOENT ? 0
                                       : dog_err_set(e, -errno, "pin folder %s: %s", path, strerror(errno));
        int rc = 0;
        for (struct dirent *d = readdir(dir); d && rc == 0; d = readdir(dir))
                if (d->d_name[0] != '.' && unlinkat(dirfd(dir), d->d_name, 0) < 0)
                        rc = dog_err_set(e, -errno, "cannot remove pin %s/%s: %s", path, d->d_name,
                                         strerror(errno));
        closedir(dir);
        if (rc == 0 && rmdir(path) < 0)
                rc = dog_err_set(e, -errno, "cannot remove pin folder %s: %s", path, strerror(errno));
        return rc;
}
