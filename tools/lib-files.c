/* SPDX-License-Identifier: Apache-2.0 */
/* Options about files, as the engine takes them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/capture/packages.h"
#include "engine/plan/file-list.h"
#include "engine/plan/owner.h"
#include "tools/ckpt.h"

static bool is(const char *value, const char *word)
{
	return value && !strcmp(value, word);
}

static enum ckpt_carry carry(const char *value)
{
	if (is(value, "mapped"))
		return CKPT_CARRY_MAPPED;
	if (is(value, "all"))
		return CKPT_CARRY_ALL;
	return is(value, "written") ? CKPT_CARRY_WRITTEN : CKPT_CARRY_NONE;
}

struct ckpt_file_policy ckpt_tool_file_policy(const struct ckpt_options *o)
{
	const char *how = o->file_validation;

	return (struct ckpt_file_policy){
		.ghost_limit = o->ghost_limit,
		.no_link = !o->link_remap,
		.hash = is(how, "hash"),
		.no_identity = is(how, "none") || is(how, "filesize"),
		.carry = carry(o->carry),
	};
}

static enum ckpt_validation validation(const char *how)
{
	if (is(how, "none"))
		return CKPT_BY_NOTHING;
	if (is(how, "filesize"))
		return CKPT_BY_SIZE;
	if (is(how, "buildid"))
		return CKPT_BY_BUILD;
	return is(how, "hash") ? CKPT_BY_HASH : CKPT_BY_BEST;
}

static int read_list(struct ckpt_tool *t, struct ckpt_restore_opts *opts)
{
	struct ckpt_file_list *list;
	int r;

	CKPT_FD fd = open(t->opts.on_files, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ckpt_refuse(&t->err, CKPT_E_NOT_A_FILE, -errno, "%s: cannot open: %s",
				   t->opts.on_files, strerrordesc_np(errno));
	r = ckpt_file_list_read(&list, t->arena, fd, t->opts.on_files, &t->err);
	opts->on_files = list;
	return r;
}

int ckpt_tool_restore_opts(struct ckpt_tool *t, struct ckpt_restore_opts *opts)
{
	const struct ckpt_options *o = &t->opts;

	opts->rules = &t->rules;
	opts->shell_job = o->shell_job;
	opts->leave_stopped = o->leave_stopped;
	opts->detached = o->detached && !o->sibling;
	opts->clock = ckpt_tool_clock(t);
	opts->lazy = !o->lazy           ? CKPT_LAZY_NOT :
		     is(o->lazy, "map") ? CKPT_LAZY_MAP :
					  CKPT_LAZY_SERVE;
	opts->validation = validation(o->file_validation);
	opts->rollback = is(o->files, "rollback");
	opts->grown = is(o->grown, "truncate") ? CKPT_GROWN_TRUNCATE :
		      is(o->grown, "append")   ? CKPT_GROWN_APPEND :
						 CKPT_GROWN_FAIL;
	return o->on_files ? read_list(t, opts) : 0;
}

/* ---- ckpt show --file-list ---- */

/* Fields that hold a path, whatever the kind. */
static const char *path_in(const struct ckpt_object *obj, const char *field)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(obj->kind->message, field);
	const char *path;

	if (!f || f->type != PROTOBUF_C_TYPE_STRING || f->label == PROTOBUF_C_LABEL_REPEATED)
		return NULL;
	path = *(const char *const *)((const char *)obj->msg + f->offset);
	return path && path[0] == '/' ? path : NULL;
}

static void list_object(struct ckpt_tool *t, const struct ckpt_object *obj,
			const struct ckpt_owned *owned, bool hash)
{
	static const char *const field[] = { "path", "other", "cwd", "root" };

	for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++) {
		const char *path = path_in(obj, field[i]);

		if (path && owned && owned->package && !strcmp(path, owned->path))
			printf("#package\t%s\n", owned->package);
		if (path)
			printf("%s\n", ckpt_file_list_line(t->arena, path, hash));
	}
}

void ckpt_tool_file_list(struct ckpt_tool *t, const struct ckpt_snapshot *snap)
{
	struct ckpt_owned *owned = ckpt_alloc(t->arena, snap->n_objects * sizeof(*owned));
	bool hash = is(t->opts.file_validation, "hash");

	for (size_t i = 0; i < snap->n_objects; i++)
		owned[i].path = ckpt_packaged_path(snap->objects[i]);
	ckpt_owners_of(t->arena, owned, snap->n_objects);
	printf("# mode, size, time, build-id, SHA-256, path\n");
	for (size_t i = 0; i < snap->n_objects; i++)
		list_object(t, snap->objects[i], &owned[i], hash);
	for (size_t i = 0; i < snap->n_tasks; i++)
		for (size_t k = 0; k < snap->tasks[i]->n_state; k++)
			list_object(t, snap->tasks[i]->state[k], NULL, hash);
}
