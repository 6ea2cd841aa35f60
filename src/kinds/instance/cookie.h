#pragma once
/** Keys of aligned mode, from a secret that the front and its servers share. */
#include "base/err.h"
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
