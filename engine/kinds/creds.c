/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials of a thread: ids, groups, capabilities, securebits, no_new_privs. They are given up
 * by the thread itself at the very end, when a failure would be too late: plan() finds out
 * beforehand whether every single call is allowed, and emits only what differs from the credentials
 * of the restore. Nobody gets more than the caller has.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "engine/base/creds.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"
#include "proto/creds.pb-c.h"

#define GROUPS_MAX 65536       /* NGROUPS_MAX */
#define KNOWN_SECUREBITS 0xffu /* Linux 6.14 has more, which older ones refuse */
#define SECUREBIT_LOCKS 0xaau
#define KEEP_CAPS (1u << SECURE_KEEP_CAPS)
#define BIT(cap) (1ull << (cap))

/* ---- capture ---- */

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Creds *m = (void *)msg;
	struct ckpt_creds *creds;
	int64_t bits;
	int r = ckpt_status_creds(c, &creds, err);

	/* PR_GET_KEEPCAPS is one of these bits. */
	if (r >= 0)
		r = ckpt_call(c, SYS_prctl, (uint64_t[6]){ PR_GET_SECUREBITS }, -1, NULL, 0, &bits,
			      err);
	if (r < 0)
		return r;
	if (bits < 0)
		return ckpt_fail(err, bits, "securebits: cannot get");
	m->n_uid = m->n_gid = CKPT_N_IDS;
	m->uid = creds->uid;
	m->gid = creds->gid;
	m->groups = creds->groups;
	m->n_groups = creds->n_groups;
	m->inheritable = creds->inheritable;
	m->permitted = creds->permitted;
	m->effective = creds->effective;
	m->bounding = creds->bounding;
	m->ambient = creds->ambient;
	m->securebits = bits;
	m->no_new_privs = creds->no_new_privs;
	return 0;
}

/* ---- what is allowed ---- */

struct change {
	struct ckpt_planner *p;
	const struct ckpt_host *host;
	pid_t pid;
	struct ckpt_creds from; /* of a task before its last calls */
	struct ckpt_creds to;
	bool uids, gids, groups; /* differ */
};

static bool may(const struct change *ch, int cap)
{
	return ch->from.permitted & BIT(cap);
}

/* "1000", or "1000/0/0/0" */
static const char *show_ids(const uint32_t id[CKPT_N_IDS], char buf[48])
{
	if (id[0] == id[1] && id[0] == id[2] && id[0] == id[3])
		snprintf(buf, 48, "%u", id[0]);
	else
		snprintf(buf, 48, "%u/%u/%u/%u", id[0], id[1], id[2], id[3]);
	return buf;
}

static const char *show_caps(uint64_t caps, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (int i = 0; i < 64 && n < size; i++) {
		char *name = caps & BIT(i) ? cap_to_name(i) : NULL;

		if (name)
			n += snprintf(buf + n, size - n, "%s%s", n ? ", " : "", name);
		cap_free(name);
	}
	return buf;
}

static bool is_one_of(uint32_t id, const uint32_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* Without capability a thread may shuffle its real, effective and saved id. */
static bool may_shuffle(const uint32_t from[CKPT_N_IDS], const uint32_t to[CKPT_N_IDS])
{
	for (int i = 0; i < CKPT_ID_FS; i++)
		if (!is_one_of(to[i], from, CKPT_ID_FS))
			return false;
	return is_one_of(to[CKPT_ID_FS], to, CKPT_ID_FS);
}

static void check_ids(const struct change *ch)
{
	char was[48], is[48];
	/* A namespace of our own knows no other id. */
	bool any_uid = may(ch, CAP_SETUID) && !ch->host->box;
	bool any_gid = may(ch, CAP_SETGID) && !ch->host->box;

	if (ch->uids && !any_uid && !may_shuffle(ch->from.uid, ch->to.uid))
		ckpt_problem(ch->p, CKPT_E_PRIVILEGE,
			     "process %d runs as uid %s, this restore as %s", ch->pid,
			     show_ids(ch->to.uid, was), show_ids(ch->from.uid, is));
	if (ch->gids && !any_gid && !may_shuffle(ch->from.gid, ch->to.gid))
		ckpt_problem(ch->p, CKPT_E_PRIVILEGE,
			     "process %d runs as gid %s, this restore as %s", ch->pid,
			     show_ids(ch->to.gid, was), show_ids(ch->from.gid, is));
	if (ch->groups && ch->host->box)
		ckpt_loss(ch->p,
			  "process %d: its supplementary groups: they become those of the caller",
			  ch->pid);
	else if (ch->groups && !may(ch, CAP_SETGID))
		ckpt_problem(ch->p, CKPT_E_PRIVILEGE,
			     "process %d has other supplementary groups than this restore, "
			     "and setting them takes cap_setgid",
			     ch->pid);
}

static void check_caps(const struct change *ch)
{
	const struct ckpt_creds *from = &ch->from, *to = &ch->to;
	uint64_t missing = to->permitted & ~(ch->host->box ? 0 : from->permitted);
	uint64_t heritable = from->inheritable |
			     (from->bounding & (may(ch, CAP_SETPCAP) ? ~0ull : from->permitted));
	char names[512];

	if (missing)
		ckpt_problem(ch->p, CKPT_E_PRIVILEGE,
			     "process %d has capabilities that this restore cannot give: %s",
			     ch->pid, show_caps(missing, names, sizeof(names)));
	if (to->inheritable & ~heritable)
		ckpt_problem(
			ch->p, CKPT_E_PRIVILEGE,
			"process %d has inheritable capabilities that this restore cannot give: %s",
			ch->pid, show_caps(to->inheritable & ~heritable, names, sizeof(names)));
	if (to->bounding & ~from->bounding)
		ckpt_loss(ch->p,
			  "process %d: its bounding set loses %s, which this restore has not",
			  ch->pid, show_caps(to->bounding & ~from->bounding, names, sizeof(names)));
	if ((from->bounding & ~to->bounding) && !may(ch, CAP_SETPCAP))
		ckpt_problem(ch->p, CKPT_E_PRIVILEGE,
			     "process %d has a smaller capability bounding set than this restore, "
			     "and setting it takes cap_setpcap",
			     ch->pid);
	if (to->ambient && (from->securebits & SECBIT_NO_CAP_AMBIENT_RAISE))
		ckpt_problem(ch->p, CKPT_E_PRIVILEGE,
			     "process %d has ambient capabilities, which the securebits of this "
			     "restore do not allow",
			     ch->pid);
}

static void check_securebits(const struct change *ch)
{
	uint32_t old = ch->from.securebits, new = ch->to.securebits, changed = old ^ new;
	uint32_t locks = old & SECUREBIT_LOCKS;
	/* Where capabilities have to outlive a change of the uid, KEEP_CAPS is switched on in
	 * between. */
	bool keep_locked = (old & SECBIT_KEEP_CAPS_LOCKED) && !(old & KEEP_CAPS) && ch->uids;

	if (changed & ~KNOWN_SECUREBITS)
		ckpt_problem(ch->p, CKPT_E_KERNEL_FEATURE,
			     "process %d has securebits %#x, of which ckpt cannot set some",
			     ch->pid, new);
	else if ((locks >> 1 & changed) || (locks & ~new) || keep_locked)
		ckpt_problem(
			ch->p, CKPT_E_PRIVILEGE,
			"process %d has securebits %#x, those of this restore are %#x and locked",
			ch->pid, new, old);
	else if ((changed & ~KEEP_CAPS) && !may(ch, CAP_SETPCAP))
		ckpt_problem(ch->p, CKPT_E_PRIVILEGE,
			     "process %d has securebits %#x, and setting them takes cap_setpcap",
			     ch->pid, new);
	if (ch->from.no_new_privs && !ch->to.no_new_privs)
		ckpt_loss(ch->p, "process %d: no_new_privs stays set, as it is of this restore",
			  ch->pid);
}

/* ---- the calls ---- */

/* What the kernel will have when the calls so far are made. */
struct caps {
	uint64_t effective, permitted, inheritable;
	bool known; /* a change of ids may have cleared some */
};

static void last(const struct change *ch, long nr, int64_t a, int64_t b, int64_t c, int64_t d)
{
	ckpt_call_late(ch->p, CKPT_LAST, nr, (int64_t[6]){ a, b, c, d });
}

static void set_caps(const struct change *ch, struct caps *now, uint64_t effective,
		     uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = {
		{ effective, permitted, inheritable },
		{ effective >> 32, permitted >> 32, inheritable >> 32 },
	};

	if (now->known && now->effective == effective && now->permitted == permitted &&
	    now->inheritable == inheritable)
		return;
	last(ch, SYS_capset, ckpt_late_data(ch->p, &head, sizeof(head)),
	     ckpt_late_data(ch->p, data, sizeof(data)), 0, 0);
	*now = (struct caps){ effective, permitted, inheritable, true };
}

/* setfsuid(2) and setfsgid(2) return the old id and never fail: asked twice, the second answer
 * tells. */
static void set_fs_id(const struct change *ch, long nr, uint32_t id)
{
	last(ch, nr, id, 0, 0, 0);
	ckpt_call_late_want(ch->p, CKPT_LAST, nr, (int64_t[6]){ id }, id);
}

static void set_groups(const struct change *ch)
{
	const struct ckpt_creds *to = &ch->to;

	if (ch->groups && !ch->host->box) {
		size_t size = to->n_groups * sizeof(*to->groups);
		int64_t at = size ? ckpt_late_data(ch->p, to->groups, size) : 0;

		last(ch, SYS_setgroups, to->n_groups, at, 0, 0);
	}
	if (!ch->gids)
		return;
	last(ch, SYS_setresgid, to->gid[CKPT_ID_REAL], to->gid[CKPT_ID_EFFECTIVE],
	     to->gid[CKPT_ID_SAVED], 0);
	if (to->gid[CKPT_ID_FS] != to->gid[CKPT_ID_EFFECTIVE])
		set_fs_id(ch, SYS_setfsgid, to->gid[CKPT_ID_FS]);
}

/* Returns the securebits there are then. */
static uint32_t set_uids(const struct change *ch, struct caps *now)
{
	const struct ckpt_creds *from = &ch->from, *to = &ch->to;
	uint32_t bits = from->securebits;

	if (!ch->uids)
		return bits;
	if (from->permitted && !(bits & KEEP_CAPS)) {
		last(ch, SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0);
		bits |= KEEP_CAPS;
	}
	last(ch, SYS_setresuid, to->uid[CKPT_ID_REAL], to->uid[CKPT_ID_EFFECTIVE],
	     to->uid[CKPT_ID_SAVED], 0);
	now->known = false;
	if (to->uid[CKPT_ID_FS] != to->uid[CKPT_ID_EFFECTIVE]) {
		set_caps(ch, now, from->permitted, from->permitted, from->inheritable);
		set_fs_id(ch, SYS_setfsuid, to->uid[CKPT_ID_FS]);
		now->known = false; /* to and from root it clears and sets those of file access */
	}
	return bits;
}

static void set_ambient(const struct change *ch)
{
	/* A change of the uid may have cleared them. */
	if (ch->from.ambient == ch->to.ambient && !(ch->uids && ch->to.ambient))
		return;
	last(ch, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0);
	for (int i = 0; i <= ch->host->last_cap; i++)
		if (ch->to.ambient & BIT(i))
			last(ch, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0);
}

static void drop_bounding(const struct change *ch)
{
	uint64_t drop = ch->from.bounding & ~ch->to.bounding;

	for (int i = 0; i <= ch->host->last_cap; i++)
		if (drop & BIT(i))
			last(ch, SYS_prctl, PR_CAPBSET_DROP, i, 0, 0);
}

static void set_securebits(const struct change *ch, uint32_t now)
{
	uint32_t bits = ch->to.securebits;

	if ((bits ^ now) == KEEP_CAPS) /* this one takes no capability */
		last(ch, SYS_prctl, PR_SET_KEEPCAPS, !!(bits & KEEP_CAPS), 0, 0);
	else if (bits != now)
		last(ch, SYS_prctl, PR_SET_SECUREBITS, bits, 0, 0);
}

/*
 * The order is that of what each call needs: ids while there are capabilities for it; inheritable
 * ones while the bounding set is whole; ambient ones after both and before securebits may forbid
 * them; at last the capabilities.
 */
static void emit(const struct change *ch)
{
	const struct ckpt_creds *from = &ch->from, *to = &ch->to;
	struct caps now = { from->effective, from->permitted, from->inheritable, true };
	bool other_caps = to->inheritable != from->inheritable || to->ambient != from->ambient ||
			  to->bounding != from->bounding || to->securebits != from->securebits;
	uint32_t bits;

	if (ch->uids || ch->gids || ch->groups || other_caps)
		set_caps(ch, &now, from->permitted, from->permitted, from->inheritable);
	set_groups(ch);
	bits = set_uids(ch, &now);
	if (other_caps && from->permitted)
		set_caps(ch, &now, from->permitted, from->permitted, to->inheritable);
	set_ambient(ch);
	drop_bounding(ch);
	set_securebits(ch, bits);
	set_caps(ch, &now, to->effective, to->permitted, to->inheritable);
	if (to->no_new_privs && !from->no_new_privs)
		last(ch, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0);
}

/* ---- plan ---- */

static int unpack(const struct ckpt_object *obj, struct ckpt_creds *to, struct ckpt_err *err)
{
	const Ckpt__Creds *m = (const void *)obj->msg;

	if (m->n_uid != CKPT_N_IDS || m->n_gid != CKPT_N_IDS || m->n_groups > GROUPS_MAX)
		return ckpt_fail(err, -EBADMSG, "creds %u: %zu uids, %zu gids, %zu groups", obj->id,
				 m->n_uid, m->n_gid, m->n_groups);
	if ((m->effective & ~m->permitted) || (m->ambient & ~(m->permitted & m->inheritable)))
		return ckpt_fail(err, -EBADMSG, "creds %u: capabilities that no thread can have",
				 obj->id);
	for (int i = 0; i < CKPT_N_IDS; i++) {
		/* It means "leave it as it is". */
		if (m->uid[i] == UINT32_MAX || m->gid[i] == UINT32_MAX)
			return ckpt_fail(err, -EBADMSG, "creds %u: an id that no thread can have",
					 obj->id);
		to->uid[i] = m->uid[i];
		to->gid[i] = m->gid[i];
	}
	to->groups = m->groups;
	to->n_groups = m->n_groups;
	to->inheritable = m->inheritable;
	to->permitted = m->permitted;
	to->effective = m->effective;
	to->bounding = m->bounding;
	to->ambient = m->ambient;
	to->securebits = m->securebits;
	to->no_new_privs = m->no_new_privs;
	return 0;
}

/* Who makes a user namespace has every capability in it, which counts for nothing outside. */
static void start_in_box(const struct ckpt_host *host, struct ckpt_creds *from)
{
	uint64_t all = host->last_cap >= 63 ? ~0ull : BIT(host->last_cap + 1) - 1;

	from->permitted = from->effective = from->bounding = all;
	from->inheritable = from->ambient = 0;
	from->securebits = 0;
}

static bool same_groups(const struct ckpt_creds *a, const struct ckpt_creds *b)
{
	return a->n_groups == b->n_groups &&
	       (!a->n_groups || !memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups)));
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);
	struct change ch = { .p = p, .host = ckpt_planner_host(p) };
	int r = unpack(obj, &ch.to, err);

	if (r < 0)
		return r;
	if (!task)
		return ckpt_fail(err, -EBADMSG, "creds %u: of no task", obj->id);
	if (!ch.host)
		return 0;
	ch.pid = task->pid;
	ch.from = ch.host->creds;
	if (ch.host->box)
		start_in_box(ch.host, &ch.from);
	ch.uids = memcmp(ch.from.uid, ch.to.uid, sizeof(ch.to.uid));
	ch.gids = memcmp(ch.from.gid, ch.to.gid, sizeof(ch.to.gid));
	ch.groups = !same_groups(&ch.from, &ch.to);
	check_ids(&ch);
	check_caps(&ch);
	check_securebits(&ch);
	/* What we have not is reported; the calls are for what is left. */
	ch.to.permitted &= ch.from.permitted;
	ch.to.effective &= ch.to.permitted;
	ch.to.bounding &= ch.from.bounding;
	emit(&ch);
	return 0;
}

const struct ckpt_kind ckpt_kind_creds = {
	.name = "creds",
	.scope = CKPT_PER_THREAD,
	.of_ended = true,
	.message = &ckpt__creds__descriptor,
	.collect = collect,
	.plan = plan,
};
