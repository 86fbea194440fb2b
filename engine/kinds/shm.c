/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared anonymous memory. The kernel backs it by a file of its own, "/dev/zero (deleted)", that
 * nobody has open.
 */
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "proto/shm.pb-c.h"

/* The device of that name is a character device. */
static bool match(const struct ckpt_probe *probe)
{
	return S_ISREG(probe->st.st_mode) && !strcmp(probe->link, "/dev/zero (deleted)");
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Shm *s = (void *)msg;

	if (c->number >= 0)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "shared anonymous memory that was opened as a file");
	s->size = c->probe->st.st_size;
	s->has_huge_shift = c->probe->fs_magic == HUGETLBFS_MAGIC;
	if (s->has_huge_shift)
		s->huge_shift = __builtin_ctzll(c->probe->st.st_blksize);
	ckpt_has_content(c, s->size);
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Shm *s = (const void *)obj->msg;

	if (!s->size || s->size > INT64_MAX ||
	    (s->has_huge_shift && (s->huge_shift < 16 || s->huge_shift > 40)) ||
	    (obj->has_content && obj->content_size != s->size))
		return ckpt_fail(err, -EBADMSG, "shm %u: bad size %llu", obj->id,
				 (unsigned long long)s->size);
	if (s->has_huge_shift)
		ckpt_takes_huge(p, s->huge_shift, s->size);
	return 0;
}

static int map(struct ckpt_site *site, const struct ckpt_object *obj, uint64_t at, bool writable,
	       struct ckpt_err *err)
{
	const Ckpt__Shm *s = (const void *)obj->msg;
	int huge = s->has_huge_shift ? MAP_HUGETLB | (int)(s->huge_shift << MAP_HUGE_SHIFT) : 0;
	void *p = mmap((void *)(uintptr_t)at, s->size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | huge, -1, 0);

	(void)site;
	(void)writable; /* it always is */
	return p == MAP_FAILED ? ckpt_fail(err, -errno, "cannot map %llu bytes",
					   (unsigned long long)s->size) :
				 0;
}

const struct ckpt_kind ckpt_kind_shm = {
	.name = "shm",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__shm__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.map = map,
};
