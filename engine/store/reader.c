/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an image: nothing of it is used before every record and the trailer have been checked. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/store/image.h"
#include "engine/store/image-inside.h"
#include "engine/store/pages-files.h"
#include "engine/store/record.h"
#include "engine/store/stream.h"
#include "engine/store/unpack.h"

struct opening {
	struct ckpt_image *img;
	uint32_t format;
	struct ckpt_chain chain;
	bool sums_seen;
};

static int take_parent(struct ckpt_image *img, const Ckpt__Checksums *sums,
		       const struct ckpt_record_in *in, struct ckpt_err *err)
{
	if (!sums->has_parent_id && !sums->parent_dir && !sums->has_begins)
		return 0;
	if (!sums->has_parent_id || !sums->parent_dir || !*sums->parent_dir || !sums->has_begins ||
	    sums->begins % CKPT_CHUNK || sums->begins > INT64_MAX - CKPT_CHUNK - sums->size ||
	    strlen(sums->parent_dir) >= PATH_MAX)
		return ckpt_record_damaged(err, in, "what it goes on from is impossible");
	img->parent_id = sums->parent_id;
	img->parent_dir = sums->parent_dir;
	img->base = sums->begins;
	return 0;
}

/* Where its files begin: they are opened later. */
static int take_files(struct opening *o, const Ckpt__Checksums *sums,
		      const struct ckpt_record_in *in, struct ckpt_err *err)
{
	struct ckpt_pages_files *files = &o->img->files;
	bool sound = sums->n_next < CKPT_PAGES_FILES &&
		     (sums->n_next > 0) == (o->format == CKPT_IMAGE_SPREAD);

	*files = (struct ckpt_pages_files){ 1, { { 0, -1 } } };
	for (size_t i = 0; sound && i < sums->n_next; i++) {
		uint64_t base = sums->next[i];

		sound = base % CKPT_CHUNK == 0 && base > files->part[i].base && base < sums->size;
		files->part[files->n++] = (struct ckpt_pages_part){ base, -1 };
	}
	return sound ? 0 : ckpt_record_damaged(err, in, "the files of the pages are impossible");
}

static int take_checksums(struct opening *o, const struct ckpt_record_in *in, struct ckpt_err *err)
{
	struct ckpt_image *img = o->img;
	Ckpt__Checksums *sums =
		(void *)ckpt_record_unpack_body(in, &ckpt__checksums__descriptor, img->arena, err);
	int r;

	if (!sums)
		return err->code;
	if (o->sums_seen || sums->chunk != CKPT_CHUNK || sums->size > INT64_MAX - CKPT_CHUNK ||
	    sums->size % CKPT_PAGE || sums->n_crc != (sums->size + CKPT_CHUNK - 1) / CKPT_CHUNK)
		return ckpt_record_damaged(err, in, "its numbers are impossible");
	o->sums_seen = true;
	img->pages_size = sums->size;
	img->crc = sums->crc;
	img->n_crc = sums->n_crc;
	img->pages_at = sums->pages_at;
	r = take_files(o, sums, in, err);
	return r < 0 ? r : take_parent(img, sums, in, err);
}

static int take_trailer(struct opening *o, const struct ckpt_record_in *in, struct ckpt_err *err)
{
	int r = ckpt_record_check_trailer(in, &o->chain, err);

	if (r < 0)
		return r;
	if (!o->sums_seen)
		return ckpt_record_damaged(err, in, "the checksums of the pages are missing");
	if ((o->format == CKPT_IMAGE_PACKED) != (o->img->stored != NULL) ||
	    (o->img->stored && o->img->n_stored != o->img->n_crc))
		return ckpt_record_damaged(err, in, "the places of the chunks are missing");
	o->img->content_id = o->chain.content_id;
	o->img->n_records = o->chain.n_records;
	return 1;
}

static int check_one(void *arg, const struct ckpt_record_in *in, struct ckpt_err *err)
{
	struct opening *o = arg;
	int r = 0;

	if (!strcmp(in->kind, "trailer"))
		return take_trailer(o, in, err);
	if (!strcmp(in->kind, "checksums"))
		r = take_checksums(o, in, err);
	else if (!strcmp(in->kind, "chunks"))
		r = ckpt_unpack_take(o->img, in, err);
	ckpt_chain_add(&o->chain, &in->head);
	return r;
}

static int check_records(struct ckpt_image *img, struct ckpt_err *err)
{
	struct opening o = { .img = img };
	int r = ckpt_records_header(img->image_fd, img->image_path, err);

	if (r < 0)
		return r;
	o.format = r;
	r = ckpt_records_scan(img->image_fd, img->image_size, img->image_path, check_one, &o, err);
	if (r == 0)
		return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
				   "%s: it ends after record %llu, without a trailer",
				   img->image_path, (unsigned long long)o.chain.n_records);
	return r < 0 ? r : 0;
}

static bool is_folder(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* After the pages: who has opened them before is seen by those who give up some (dedup.c). */
static int open_given_up(struct ckpt_image *img, const char *dir, struct ckpt_err *err)
{
	const char *path = ckpt_path_in(img->arena, dir, CKPT_GIVEN_UP_NAME);
	uint64_t size = 0;
	CKPT_FD fd = ckpt_image_open_file(img->dirfd, CKPT_GIVEN_UP_NAME, path, &size, err);

	if (fd == -ENOENT) {
		*err = (struct ckpt_err)CKPT_ERR_INIT;
		return 0;
	}
	return fd < 0 ? fd : ckpt_given_up_read(img, fd, size, path, err);
}

static int open_folder(struct ckpt_image *img, const char *dir, struct ckpt_err *err)
{
	int r;

	dir = img->dir = ckpt_image_folder_name(img->arena, dir);
	img->image_path = ckpt_path_in(img->arena, dir, CKPT_IMAGE_NAME);
	img->pages_path = ckpt_path_in(img->arena, dir, CKPT_PAGES_NAME);
	img->image_fd = ckpt_image_open_file(img->dirfd, CKPT_IMAGE_NAME, img->image_path,
					     &img->image_size, err);
	r = img->image_fd < 0 ? img->image_fd : check_records(img, err);
	if (r >= 0)
		r = ckpt_image_open_pages(img, err);
	return r < 0 ? r : open_given_up(img, dir, err);
}

/* What came, in the files of GOT. */
static int check_received(struct ckpt_image *img, struct ckpt_received *got, const char *name,
			  struct ckpt_err *err)
{
	int r;

	img->dir = img->image_path = img->pages_path = name;
	img->image_fd = got->image_fd;
	img->image_size = got->image_size;
	img->stream_bytes = got->bytes;
	img->own = true;
	r = check_records(img, err);
	ckpt_image_set_file(img, got->pages_fd);
	if (r >= 0)
		r = ckpt_received_compare(got, name, img->pages_size, img->crc, err);
	got->image_fd = got->pages_fd = -1;
	return r;
}

static int open_stream(struct ckpt_image *img, const char *name,
		       const struct ckpt_receive_opts *opts, struct ckpt_err *err)
{
	struct ckpt_receive_opts shown = *opts;
	struct ckpt_received got;
	int fd = img->dirfd, r;

	img->dirfd = -1;
	shown.progress = ckpt_arena_progress(img->arena);
	r = ckpt_stream_receive(&got, fd, name, &shown, err);
	if (r >= 0)
		r = check_received(img, &got, name, err);
	ckpt_received_close(&got);
	return r;
}

static struct ckpt_image *new_image(struct ckpt_arena *arena, int dirfd)
{
	struct ckpt_image *img = ckpt_new(arena, struct ckpt_image);

	img->arena = arena;
	img->dirfd = dirfd;
	img->image_fd = img->packed_fd = img->lender = img->lent = -1;
	return img;
}

static int open_one(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd, const char *dir,
		    const struct ckpt_receive_opts *opts, struct ckpt_err *err)
{
	struct ckpt_image *img = new_image(arena, dirfd);
	int r;

	*imgp = NULL;
	img->away = opts->away;
	r = is_folder(dirfd) ? open_folder(img, dir, err) : open_stream(img, dir, opts, err);
	if (r < 0) {
		ckpt_image_close(img);
		return r;
	}
	*imgp = img;
	return 0;
}

int ckpt_image_adopt(struct ckpt_image **imgp, struct ckpt_arena *arena, struct ckpt_received *got,
		     int dirfd, const char *name, struct ckpt_err *err)
{
	*imgp = new_image(arena, dirfd);
	return check_received(*imgp, got, name, err);
}

static int open_any(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd, const char *dir,
		    const struct ckpt_receive_opts *opts, bool whole, struct ckpt_err *err)
{
	int r = open_one(imgp, arena, dirfd, dir, opts, err);

	if (r >= 0) {
		(*imgp)->away = opts->away && !opts->near;
		r = ckpt_image_open_parents(*imgp, dirfd, whole, err);
	}
	if (r < 0) {
		ckpt_image_close(*imgp);
		*imgp = NULL;
	}
	return r;
}

int ckpt_image_open(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd, const char *dir,
		    struct ckpt_err *err)
{
	const struct ckpt_receive_opts opts = { .keep = true };

	return open_any(imgp, arena, dirfd, dir, &opts, false, err);
}

int ckpt_image_open_whole(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			  const char *dir, struct ckpt_err *err)
{
	const struct ckpt_receive_opts opts = { .keep = true };

	return open_any(imgp, arena, dirfd, dir, &opts, true, err);
}

int ckpt_image_open_one(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			const char *dir, bool away, struct ckpt_err *err)
{
	const struct ckpt_receive_opts opts = { .keep = true, .away = away };

	return open_one(imgp, arena, dirfd, dir, &opts, err);
}

int ckpt_image_open_records(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			    const char *dir, struct ckpt_err *err)
{
	return open_any(imgp, arena, dirfd, dir, &(struct ckpt_receive_opts){ .away = true }, false,
			err);
}

int ckpt_image_open_lent(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			 const char *dir, int fds[2], struct ckpt_err *err)
{
	const struct ckpt_receive_opts opts = { .keep = true, .away = fds[1] >= 0, .near = true };
	int r = open_any(imgp, arena, dirfd, dir, &opts, false, err);
	struct ckpt_image *img = *imgp;
	struct stat st;

	if (r < 0)
		return r;
	if (opts.away && img->pages_size && !img->stored && !img->files.n) {
		if (fstat(fds[1], &st) < 0 || (uint64_t)st.st_size != img->pages_size)
			return ckpt_refuse(err, CKPT_E_LENDER, -EBADMSG,
					   "%s: what is lent is not of this image", dir);
		ckpt_image_set_file(img, ckpt_take_fd(&fds[1]));
		img->lent = fds[0];
	}
	img->lender = ckpt_take_fd(&fds[0]);
	return 0;
}

int ckpt_image_open_brief(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			  const char *dir, struct ckpt_err *err)
{
	return open_any(imgp, arena, dirfd, dir, &(struct ckpt_receive_opts){ 0 }, false, err);
}

int ckpt_image_open_handed(struct ckpt_image **imgp, struct ckpt_arena *arena, int fd,
			   const char *name, struct ckpt_err *err)
{
	const struct ckpt_receive_opts opts = { .keep = true, .more = true };

	return open_any(imgp, arena, fd, name, &opts, false, err);
}

void ckpt_image_close(struct ckpt_image *img)
{
	for (; img; img = img->parent) {
		ckpt_close_fd(&img->image_fd);
		for (size_t i = 0; i < img->files.n; i++)
			ckpt_close_fd(&img->files.part[i].fd);
		img->files.n = 0;
		ckpt_close_fd(&img->packed_fd);
		ckpt_close_fd(&img->lender);
		img->image_fd = img->packed_fd = img->lender = img->lent = -1;
		if (img->own_dirfd)
			ckpt_close_fd(&img->dirfd);
		img->own_dirfd = false;
		ckpt_slots_close(img->slots);
		img->slots = NULL;
	}
}

struct loading {
	struct ckpt_snapshot_builder *builder;
};

static int load_one(void *arg, const struct ckpt_record_in *in, struct ckpt_err *err)
{
	struct loading *l = arg;

	if (!strcmp(in->kind, "trailer"))
		return 1;
	if (!strcmp(in->kind, "checksums") || !strcmp(in->kind, "chunks"))
		return 0;
	return ckpt_snapshot_builder_add(l->builder, in, err);
}

int ckpt_image_load(struct ckpt_image *img, struct ckpt_snapshot **snapp, struct ckpt_err *err)
{
	int r = ckpt_image_load_any(img, snapp, err);

	if (r >= 0 && (*snapp)->inventory->memory_only)
		return ckpt_refuse(err, CKPT_E_MEMORY_ONLY, -EINVAL,
				   "%s: is of a pre-dump, which has memory only", img->image_path);
	return r < 0 ? r : ckpt_image_check_kept(img, *snapp, err);
}

int ckpt_image_load_any(struct ckpt_image *img, struct ckpt_snapshot **snapp, struct ckpt_err *err)
{
	struct loading l = { ckpt_snapshot_builder_new(img->arena) };
	struct ckpt_snapshot *snap;
	int r;

	r = ckpt_records_scan(img->image_fd, img->image_size, img->image_path, load_one, &l, err);
	if (r < 0)
		return r;
	r = ckpt_snapshot_builder_finish(l.builder, &snap, err);
	if (r >= 0)
		r = ckpt_snapshot_check(snap, ckpt_image_end(img), err);
	if (r >= 0)
		r = ckpt_image_check_runs(img, snap, err);
	if (r < 0)
		return ckpt_in(err, r, "%s", img->image_path);
	snap->parts = ckpt_image_parts(img, &snap->n_parts);
	*snapp = snap;
	return 0;
}

const struct ckpt_pages_files *ckpt_image_files(const struct ckpt_image *img)
{
	return &img->files;
}

uint64_t ckpt_image_pages_size(const struct ckpt_image *img)
{
	return img->pages_size;
}

uint64_t ckpt_image_content_id(const struct ckpt_image *img)
{
	return img->content_id;
}

bool ckpt_image_is_stream(const struct ckpt_image *img)
{
	return img->dirfd < 0;
}

uint64_t ckpt_image_bytes(const struct ckpt_image *img)
{
	if (img->stream_bytes)
		return img->stream_bytes;
	return img->image_size + (img->stored ? img->packed_size : img->pages_size);
}

uint64_t ckpt_image_n_records(const struct ckpt_image *img)
{
	return img->n_records;
}
