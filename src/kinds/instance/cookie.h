#pragma once
/** Keys of aligned mode, from a secret that the front and its servers share. */
#include "base/err.h"
#include "hands/message.h"
#include "kinds/instance/instance_cookie.h"

#include <stddef.h>
#include <stdint.h>

/**
 * A key from a secret of any length: for `vip_name`, so that services sharing a secret have keys of their own
 * (BLAKE2b, RFC 7693, keyed with the secret). Front and servers derive it the same way.
 * @return 0, -EINVAL: the secret is shorter than 16 bytes or longer than 64
 */
int instance_cookie_key_derive(struct instance_cookie_key *key, const void *secret, size_t bytes,
                               const char *vip_name, uint64_t from_epoch, struct dog_err *e);

/**
 * What a server's agent says of a service to the front: it is the same number at both when the vip's name,
 * the socket's address and port and the secret are, and says nothing about the secret. A front that sent
 * aligned connections to a shim with another key would lose them all.
 */
uint64_t instance_cookie_tag(const void *secret, size_t bytes, const char *vip_name,
                             const struct dog_hands_address *address, uint16_t port);
