/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials out of /proc/PID/status. Without CONFIG_MULTIUSER some lines are missing: such a
 * kernel is not supported. */
#include <errno.h>
#include <stdlib.h>
#include "engine/base/creds.h"
#include "engine/base/text.h"

static int bad(struct ckpt_err *err, const char *key)
{
	return ckpt_fail(err, -EBADMSG, "status: cannot read \"%s:\"", key);
}

static int parse_ids(const char *status, const char *key, uint32_t ids[CKPT_N_IDS],
		     struct ckpt_err *err)
{
	const char *s = ckpt_line_after(status, key);
	uint64_t value;

	for (int i = 0; i < CKPT_N_IDS; i++) {
		if (!s || !ckpt_parse_u64(&s, 10, &value) || value > UINT32_MAX)
			return bad(err, key);
		ids[i] = value;
	}
	return 0;
}

static int parse_mask(const char *status, const char *key, uint64_t *maskp, struct ckpt_err *err)
{
	const char *s = ckpt_line_after(status, key);

	return s && ckpt_parse_u64(&s, 16, maskp) ? 0 : bad(err, key);
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int parse_groups(struct ckpt_arena *arena, const char *status, struct ckpt_creds *creds,
			struct ckpt_err *err)
{
	const char *line = ckpt_line_after(status, "Groups"), *s = line;
	uint64_t value;

	if (!s)
		return bad(err, "Groups");
	/* Numbers stand on one line: the parser skips blanks, no newline. */
	for (creds->n_groups = 0; ckpt_parse_u64(&s, 10, &value); creds->n_groups++)
		if (value > UINT32_MAX)
			return bad(err, "Groups");
	creds->groups = ckpt_alloc(arena, creds->n_groups * sizeof(*creds->groups));
	s = line;
	for (size_t i = 0; i < creds->n_groups && ckpt_parse_u64(&s, 10, &value); i++)
		creds->groups[i] = value;
	qsort(creds->groups, creds->n_groups, sizeof(*creds->groups), compare_u32);
	return 0;
}

int ckpt_creds_parse(struct ckpt_arena *arena, const char *status, struct ckpt_creds *creds,
		     struct ckpt_err *err)
{
	const struct {
		const char *key;
		uint64_t *mask;
	} masks[] = {
		{ "CapInh", &creds->inheritable }, { "CapPrm", &creds->permitted },
		{ "CapEff", &creds->effective },   { "CapBnd", &creds->bounding },
		{ "CapAmb", &creds->ambient },
	};
	uint64_t nnp;
	int r;

	r = parse_ids(status, "Uid", creds->uid, err);
	if (r < 0)
		return r;
	r = parse_ids(status, "Gid", creds->gid, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		r = parse_mask(status, masks[i].key, masks[i].mask, err);
		if (r < 0)
			return r;
	}
	r = parse_mask(status, "NoNewPrivs", &nnp, err);
	if (r < 0)
		return r;
	creds->no_new_privs = nnp;
	return parse_groups(arena, status, creds, err);
}
