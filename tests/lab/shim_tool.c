/*
 * A shim by hand, for labs: the part of an agent that aligned mode needs.
 *
 *     shim probe
 *     shim open PIN-FOLDER SECRET-HEX DEVICE NAME ADDRESS PORT    a service named NAME; the programs stay
 *     shim counts PIN-FOLDER DEVICE                               one line each
 *     shim remove PIN-FOLDER DEVICE
 */
#include "base/clock.h"
#include "kinds/instance/cookie.h"
#include "kinds/instance/shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tool_say(int rc, const struct dog_err *e)
{
        if (rc < 0)
                fprintf(stderr, "%s\n", e->text);
        return rc < 0 ? 1 : 0;
}

static int tool_service(struct instance_shim_loader *s, char **argv, struct dog_err *e)
{
        struct instance_cookie_keys keys = {.key[1].from = ~0ULL};
        struct dog_hands_address address = {0};
        unsigned char secret[64];
        size_t bytes = 0;
        int rc;

        if (sodium_hex2bin(secret, sizeof(secret), argv[0], strlen(argv[0]), NULL, &bytes, NULL) != 0)
                return dog_err_set(e, -EINVAL, "%s is not hexadecimal", argv[0]);
        rc = instance_cookie_key_derive(&keys.key[0], secret, bytes, argv[2], 0, e);
        if (rc < 0)
                return rc;
        address.version = strchr(argv[3], ':') ? 6 : 4;
        if (inet_pton(address.version == 6 ? AF_INET6 : AF_INET, argv[3], address.bytes) != 1)
                return dog_err_set(e, -EINVAL, "%s is no address", argv[3]);
        return instance_shim_service_set(s, address.version == 6, &address, (uint16_t)atoi(argv[4]), &keys,
                                         e);
}

int main(int argc, char **argv)
{
        struct instance_shim_loader *s = NULL;
        struct instance_shim_setup setup = {.devices = 1};
        uint64_t count[INSTANCE_SHIM_COUNTS_ALL];
        struct dog_err e = {0};
        int rc;

        if (argc == 2 && !strcmp(argv[1], "probe"))
                return tool_say(instance_shim_probe(&e), &e);
        if (argc < 4) {
                fprintf(stderr, "usage: see the head of shim_tool.c\n");
                return 2;
        }
        setup.pin_folder = argv[2];
        setup.device[0] = argv[!strcmp(argv[1], "open") && argc == 8 ? 4 : 3];
        rc = instance_shim_open(&s, &setup, &e);
        if (rc < 0)
                return tool_say(rc, &e);
        if (!strcmp(argv[1], "remove"))
                return tool_say(instance_shim_remove(s, &e), &e);
        if (!strcmp(argv[1], "open") && argc == 8) {
                rc = tool_service(s, argv + 3, &e);
        } else if (!strcmp(argv[1], "counts")) {
                rc = instance_shim_counts_read(s, count);
                for (unsigned i = 0; rc == 0 && i < INSTANCE_SHIM_COUNTS_ALL; i++)
                        printf("%s %llu\n", instance_shim_count_word(i), (unsigned long long)count[i]);
        }
        instance_shim_close(s);
        return tool_say(rc, &e);
}
