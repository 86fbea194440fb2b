/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code must be the same build: a byte elsewhere and the program fails later, in silence. Of data
 * the size has to be that of the dump; a hash, where there is one, decides; a new time alone is
 * told.
 */
#include "engine/plan/validate.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/plan/file-list.h"
#include "engine/plan/identity.h"
#include "engine/plan/owner.h"
#include "engine/plan/path.h"

/* The file as it is now. */
struct now {
	const char *path;
	const struct stat *st;
	const struct ckpt_file_entry *entry; /* of another machine; NULL: look here */
};

static int open_now(const struct now *now)
{
	return ckpt_path_open(now->path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
}

static size_t build_id_now(const struct now *now, uint8_t id[CKPT_BUILD_ID_MAX])
{
	if (now->entry) {
		memcpy(id, now->entry->build_id, now->entry->build_id_len);
		return now->entry->build_id_len;
	}
	CKPT_FD fd = open_now(now);
	return fd < 0 ? 0 : ckpt_build_id(fd, id);
}

/* 1: the same, 0: another, negative: nobody can tell. */
static int compare_hash(const struct now *now, const struct ckpt_seen *then)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	uint8_t hash[CKPT_SHA256];

	if (now->entry)
		return now->entry->has_sha256 ?
			       !memcmp(now->entry->sha256, then->sha256, CKPT_SHA256) :
			       -1;
	CKPT_FD fd = open_now(now);
	if (fd < 0 || ckpt_sha256(fd, then->size, hash, &ignored) < 0)
		return -1;
	return !memcmp(hash, then->sha256, CKPT_SHA256);
}

/* Room for what owners() tells. */
#define OWNERS (2 * CKPT_OWNER_MAX + 40)

/* " (dumped from package libc6 2.36-9, here libc6 2.36-10)", as far as it is known. */
static const char *owners(const struct now *now, const struct ckpt_seen *then, char buf[OWNERS])
{
	char asked[CKPT_OWNER_MAX];
	const char *here = now->entry ? now->entry->package : ckpt_owner_of(now->path, asked);
	bool known = here && *here;

	buf[0] = '\0';
	if (then->package)
		snprintf(buf, OWNERS, " (dumped from package %s, here %s)", then->package,
			 known ? here : "of no package that is known");
	else if (known)
		snprintf(buf, OWNERS, " (package %s)", here);
	return buf;
}

/* True: the build-ids decide. */
static bool judge_build(const struct now *now, const struct ckpt_seen *then, struct ckpt_verdict *v)
{
	char was[2 * CKPT_BUILD_ID_MAX + 1], is[2 * CKPT_BUILD_ID_MAX + 1];
	char owner[OWNERS];
	uint8_t id[CKPT_BUILD_ID_MAX];
	size_t len;

	if (!then->build_id)
		return false;
	len = build_id_now(now, id);
	if (len == then->build_id_len && !memcmp(id, then->build_id, len))
		return (uint64_t)now->st->st_size == then->size;
	v->number = CKPT_E_FILE_BUILD;
	snprintf(v->text, sizeof(v->text),
		 "%s: is another build: its build-id was %s, is %s now (%llu bytes, now %llu)",
		 owners(now, then, owner), ckpt_hex(was, then->build_id, then->build_id_len),
		 ckpt_hex(is, id, len), (unsigned long long)then->size,
		 (unsigned long long)now->st->st_size);
	return true;
}

static bool same_time(const struct now *now, const struct ckpt_seen *then)
{
	return !then->has_mtime || (then->mtime.tv_sec == now->st->st_mtim.tv_sec &&
				    then->mtime.tv_nsec == now->st->st_mtim.tv_nsec);
}

static void judge_content(const struct now *now, const struct ckpt_seen *then,
			  enum ckpt_validation how, struct ckpt_verdict *v)
{
	int same = -1;

	if (how == CKPT_BY_SIZE)
		return;
	if (then->sha256 && (how == CKPT_BY_HASH || !same_time(now, then)))
		same = compare_hash(now, then);
	else if (same_time(now, then))
		return;
	if (!same) {
		v->number = CKPT_E_FILE_CHANGED;
		snprintf(v->text, sizeof(v->text), ": has another content than it had");
	} else if (same < 0 && how != CKPT_BY_BUILD) {
		snprintf(
			v->text, sizeof(v->text),
			": was written to since the dump, its size is the same: its content is not compared");
	}
}

void ckpt_validate(const struct ckpt_restore_opts *opts, const char *path,
		   const struct ckpt_seen *then, const struct stat *st, struct ckpt_verdict *v)
{
	const struct now now = { path, st,
				 opts->on_files ? ckpt_file_list_find(opts->on_files, path) :
						  NULL };
	char owner[OWNERS];

	v->number = CKPT_E_NONE;
	v->text[0] = '\0';
	if (opts->validation == CKPT_BY_NOTHING ||
	    (opts->validation != CKPT_BY_SIZE && judge_build(&now, then, v)))
		return;
	if ((uint64_t)st->st_size == then->size) {
		judge_content(&now, then, opts->validation, v);
		return;
	}
	v->number = CKPT_E_FILE_CHANGED;
	snprintf(v->text, sizeof(v->text), "%s: had %llu bytes, has %llu now",
		 then->package ? owners(&now, then, owner) : "", (unsigned long long)then->size,
		 (unsigned long long)st->st_size);
}
