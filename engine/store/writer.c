/* SPDX-License-Identifier: Apache-2.0 */
/* Writing an image and committing it (publish.c). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/file.h"
#include "engine/store/cache.h"
#include "engine/store/image.h"
#include "engine/store/pack.h"
#include "engine/store/page-server.h"
#include "engine/store/pages-files.h"
#include "engine/store/record.h"
#include "engine/store/stream.h"
#include "engine/store/temp.h"

struct ckpt_image_writer {
	struct ckpt_arena *arena;
	int dirfd;
	const char *dir;
	struct ckpt_temp temp;
	bool made_link; /* to the image before */
	uint64_t pages_size;
	const uint32_t *crc;
	size_t n_crc;
	struct ckpt_image_how how;
	struct ckpt_pack *pack;         /* NULL: pages are written as they are */
	struct ckpt_stream_out *stream; /* NULL: into the folder */
	struct ckpt_pages_files files;  /* that pages are written to: of TEMP, or RAW */
	bool raw;                       /* they are ours, and packed by the commit */
	bool spread;                    /* as many as they will be */
	const char *parent_dir;         /* NULL: it goes on from none */
	uint64_t parent_id, base, content_id;
};

/* In memory, for others: there is no pages file. */
static bool holds_pages(const struct ckpt_image_writer *w)
{
	return w->how.server && !w->stream;
}

/* As they are, until the commit: in the folder, which has the room, or else in memory. */
static int make_raw(const struct ckpt_image_writer *w)
{
	int fd = -1;

	if (!w->stream && !w->how.server)
		fd = openat(w->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? memfd_create("ckpt-pages", MFD_CLOEXEC) : fd;
}

static int open_raw(struct ckpt_image_writer *w, struct ckpt_err *err)
{
	int fd = make_raw(w);

	w->raw = true;
	w->files.n = fd >= 0;
	w->files.part[0].fd = fd;
	return fd < 0 ? ckpt_image_write_error(err, -errno, w->dir, CKPT_PAGES_NAME) : 0;
}

static int open_pack(struct ckpt_image_writer *w, struct ckpt_err *err)
{
	const struct ckpt_pack_opts opts = {
		.how = w->how.compress,
		.fd = w->temp.pages[0].fd,
		.dir = w->dir,
		.stream = w->stream,
		.go_on = w->how.go_on,
		.go_on_arg = w->how.go_on_arg,
		.progress = ckpt_arena_progress(w->arena),
	};

	w->pack = ckpt_pack_open(&opts, err);
	if (!w->pack)
		return err->code;
	return w->how.later ? open_raw(w, err) : 0;
}

static int open_stream(struct ckpt_image_writer *w, int fd, const char *name, struct ckpt_err *err)
{
	const struct ckpt_stream_opts opts = { fd,
					       name,
					       w->how.go_on,
					       w->how.go_on_arg,
					       ckpt_arena_progress(w->arena),
					       w->how.patience_s };
	int r = ckpt_stream_open(&w->stream, &opts, err);

	return r < 0 ? r : open_pack(w, err);
}

static int open_folder(struct ckpt_image_writer *w, struct ckpt_err *err)
{
	const struct ckpt_page_server *server = w->how.server;
	int r = ckpt_temp_begin(&w->temp, w->dirfd, w->dir, err);

	if (r >= 0 && server)
		return server->fd < 0 ? open_raw(w, err) :
					open_stream(w, server->fd, server->name, err);
	return r >= 0 && w->how.compress.method ? open_pack(w, err) : r;
}

static int open_pipe(struct ckpt_image_writer *w, struct ckpt_err *err)
{
	w->temp.image.fd = memfd_create("ckpt-image", MFD_CLOEXEC);
	if (w->temp.image.fd < 0)
		return ckpt_image_write_error(err, -errno, w->dir, CKPT_IMAGE_NAME);
	return open_stream(w, w->dirfd, w->dir, err);
}

int ckpt_image_create_as(struct ckpt_image_writer **wp, struct ckpt_arena *arena, int dirfd,
			 const char *dir, const struct ckpt_image_how *how, struct ckpt_err *err)
{
	struct ckpt_image_writer *w = ckpt_new(arena, struct ckpt_image_writer);
	struct stat st;
	int r;

	*wp = NULL;
	w->arena = arena;
	w->dirfd = dirfd;
	w->dir = ckpt_image_folder_name(arena, dir);
	w->how = *how;
	ckpt_temp_init(&w->temp);
	if (fstat(dirfd, &st) == 0 && !S_ISDIR(st.st_mode))
		r = open_pipe(w, err);
	else
		r = open_folder(w, err);
	if (r < 0) {
		ckpt_image_writer_close(w);
		return r;
	}
	if (!w->raw) {
		w->files.part[0].fd = w->temp.pages[0].fd;
		w->files.n = w->files.part[0].fd >= 0;
	}
	*wp = w;
	return 0;
}

int ckpt_image_create(struct ckpt_image_writer **wp, struct ckpt_arena *arena, int dirfd,
		      const char *dir, struct ckpt_err *err)
{
	const struct ckpt_image_how plain = { .later = false };

	return ckpt_image_create_as(wp, arena, dirfd, dir, &plain, err);
}

const struct ckpt_pages_files *ckpt_image_writer_files(const struct ckpt_image_writer *w)
{
	return &w->files;
}

/* What is packed as it comes is in one file. */
void ckpt_image_spread(struct ckpt_image_writer *w, uint64_t size)
{
	size_t n = ckpt_pages_useful(size);

	if (!n || w->spread || (w->pack && !w->raw))
		return;
	w->spread = true;
	while (w->files.n && w->files.n < n) {
		size_t i = w->files.n;
		int fd = w->raw ? make_raw(w) : ckpt_temp_add(&w->temp, i);

		if (fd < 0)
			return;
		w->files.part[i] = (struct ckpt_pages_part){
			(size / n * i + CKPT_CHUNK - 1) / CKPT_CHUNK * CKPT_CHUNK, fd
		};
		w->files.n++;
	}
}

bool ckpt_image_writer_is_last(const struct ckpt_image_writer *w)
{
	return w->how.later && !w->raw;
}

struct ckpt_pack *ckpt_image_writer_pack(struct ckpt_image_writer *w)
{
	return w->how.later ? NULL : w->pack;
}

int ckpt_image_put_pages(struct ckpt_image_writer *w, const void *data, size_t len, uint64_t offset,
			 struct ckpt_err *err)
{
	for (size_t done = 0; done < len;) {
		uint64_t at = offset + done, left = len - done;
		int fd = ckpt_pages_piece(&w->files, &at, &left);
		ssize_t n = pwrite(fd, (const char *)data + done, left, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ckpt_image_write_error(err, n ? -errno : -EIO, w->dir,
						      CKPT_PAGES_NAME);
		done += n;
	}
	return 0;
}

void ckpt_image_set_checksums(struct ckpt_image_writer *w, uint64_t size, const uint32_t *crc,
			      size_t n)
{
	w->pages_size = size;
	w->crc = crc;
	w->n_crc = n;
}

int ckpt_image_set_parent(struct ckpt_image_writer *w, const char *dir, uint64_t id, uint64_t base,
			  struct ckpt_err *err)
{
	char old[PATH_MAX];
	ssize_t n;

	w->parent_dir = dir;
	w->parent_id = id;
	w->base = base;
	if (symlinkat(dir, w->dirfd, CKPT_PARENT_LINK) == 0) {
		w->made_link = true;
		return 0;
	}
	if (errno != EEXIST) /* the path is in the image, too */
		return errno == EPERM ?
			       0 :
			       ckpt_image_write_error(err, -errno, w->dir, CKPT_PARENT_LINK);
	n = readlinkat(w->dirfd, CKPT_PARENT_LINK, old, sizeof(old));
	if (n == (ssize_t)strlen(dir) && !memcmp(old, dir, n))
		return 0;
	return ckpt_refuse(err, CKPT_E_IMAGE_EXISTS, -EEXIST,
			   "%s/" CKPT_PARENT_LINK ": cannot write: it is there already", w->dir);
}

const uint32_t *ckpt_image_writer_checksums(const struct ckpt_image_writer *w, uint64_t *sizep)
{
	*sizep = w->pages_size;
	return w->crc;
}

bool ckpt_image_has_sent(const struct ckpt_image_writer *w)
{
	return w && w->stream && ckpt_stream_written(w->stream);
}

uint64_t ckpt_image_writer_content_id(const struct ckpt_image_writer *w)
{
	return w->content_id;
}

/* The pages file may have been allocated ahead, or end in a hole. */
static int settle_pages(struct ckpt_image_writer *w, struct ckpt_err *err)
{
	int r;

	if (w->n_crc != (w->pages_size + CKPT_CHUNK - 1) / CKPT_CHUNK)
		return ckpt_fail(err, -EINVAL, "%s/%s: cannot commit %zu checksums", w->dir,
				 CKPT_PAGES_NAME, w->n_crc);
	if (holds_pages(w))
		return 0;
	if (w->pack)
		return w->how.later ?
			       ckpt_pack_files(w->pack, &w->files, w->pages_size, w->crc, err) :
			       0;
	r = ckpt_pages_settle(&w->files, w->pages_size);
	return r < 0 ? ckpt_image_write_error(err, r, w->dir, CKPT_PAGES_NAME) : 0;
}

int ckpt_image_send_ahead(struct ckpt_image_writer *w, uint64_t size, const uint32_t *crc,
			  struct ckpt_err *err)
{
	if (!w->stream || !w->raw)
		return 0;
	return ckpt_pack_files(w->pack, &w->files, size, crc, err);
}

/* What the pages files take. */
static uint64_t stored_size(const struct ckpt_image_writer *w)
{
	return holds_pages(w) ? 0 : w->pack ? ckpt_pack_size(w->pack) : w->pages_size;
}

/* How many there are. */
static size_t n_files(const struct ckpt_image_writer *w)
{
	return w->pack || holds_pages(w) ? stored_size(w) > 0 :
					   ckpt_pages_count(&w->files, w->pages_size);
}

static int write_chunks(struct ckpt_image_writer *w, struct ckpt_record_out *out,
			struct ckpt_err *err)
{
	Ckpt__Chunks chunks = CKPT__CHUNKS__INIT;
	Ckpt__Record rec = CKPT__RECORD__INIT;

	chunks.stored = ckpt_pack_size(w->pack);
	chunks.n_method = chunks.n_offset = chunks.n_length = chunks.n_crc = w->n_crc;
	chunks.method = ckpt_alloc(w->arena, w->n_crc * sizeof(*chunks.method));
	chunks.offset = ckpt_alloc(w->arena, w->n_crc * sizeof(*chunks.offset));
	chunks.length = ckpt_alloc(w->arena, w->n_crc * sizeof(*chunks.length));
	chunks.crc = ckpt_alloc(w->arena, w->n_crc * sizeof(*chunks.crc));
	for (size_t i = 0; i < w->n_crc; i++) {
		const struct ckpt_stored at = ckpt_pack_stored(w->pack, i);

		chunks.method[i] = at.method;
		chunks.offset[i] = at.offset;
		chunks.length[i] = at.length;
		chunks.crc[i] = at.crc;
	}
	rec.kind = (char *)"chunks";
	return ckpt_record_write(out, &rec, &chunks.base, err);
}

static int write_end(struct ckpt_image_writer *w, struct ckpt_record_out *out, struct ckpt_err *err)
{
	Ckpt__Checksums sums = CKPT__CHECKSUMS__INIT;
	Ckpt__Record rec = CKPT__RECORD__INIT;
	uint64_t next[CKPT_PAGES_FILES];
	int r;

	sums.size = w->pages_size;
	sums.chunk = CKPT_CHUNK;
	sums.crc = (uint32_t *)w->crc;
	sums.n_crc = w->n_crc;
	sums.has_parent_id = sums.has_begins = w->parent_dir != NULL;
	sums.parent_id = w->parent_id;
	sums.parent_dir = (char *)w->parent_dir;
	sums.begins = w->base;
	sums.next = next;
	for (size_t i = 1; i < n_files(w); i++)
		next[sums.n_next++] = w->files.part[i].base;
	sums.pages_at = w->how.server ? (char *)w->how.server->name : NULL;
	rec.kind = (char *)"checksums";
	r = ckpt_record_write(out, &rec, &sums.base, err);
	if (r < 0)
		return r;
	w->content_id = out->chain.content_id;
	return ckpt_record_write_trailer(out, err);
}

static int write_image(struct ckpt_image_writer *w, const struct ckpt_snapshot *snap,
		       uint64_t *bytesp, struct ckpt_err *err)
{
	struct ckpt_record_out out;
	bool packed = w->pack && !w->stream;
	int r = ckpt_record_out_open(&out, w->temp.image.fd, w->dir, err);

	if (r < 0)
		return r;
	if (packed)
		ckpt_record_out_format(&out, CKPT_IMAGE_PACKED);
	else if (n_files(w) > 1)
		ckpt_record_out_format(&out, CKPT_IMAGE_SPREAD);
	r = ckpt_snapshot_write(&out, snap, w->arena, err);
	if (r >= 0 && packed)
		r = write_chunks(w, &out, err);
	if (r >= 0)
		r = write_end(w, &out, err);
	*bytesp = out.written;
	ckpt_record_out_close(&out);
	return r;
}

static int send_image(struct ckpt_image_writer *w, struct ckpt_err *err)
{
	int r = ckpt_stream_put_image(w->stream, w->temp.image.fd, err);

	return r < 0 ? r : ckpt_stream_end(w->stream, err);
}

/* Here and there, or nowhere. */
static int publish_with_server(struct ckpt_image_writer *w, struct ckpt_err *err)
{
	const struct ckpt_talk talk = { w->how.server->fd, w->how.server->fd, w->how.server->name,
					w->how.go_on, w->how.go_on_arg };
	int r = send_image(w, err);

	if (r >= 0)
		r = ckpt_server_await_ready(&talk, err);
	if (r >= 0)
		r = ckpt_temp_publish(&w->temp, 0, err);
	if (r < 0)
		return r;
	r = ckpt_server_keep(&talk, err);
	if (r < 0)
		ckpt_image_remove(w->dirfd, false);
	return r;
}

/* Nobody reads it soon. On tmpfs it has no other place. */
static void drop_cache(const struct ckpt_image_writer *w)
{
	if (ckpt_is_on_tmpfs(w->temp.image.fd) || !ckpt_cache_is_short(0))
		return;
	for (size_t i = 0; i < n_files(w); i++)
		posix_fadvise(w->temp.pages[i].fd, 0, 0, POSIX_FADV_DONTNEED);
}

int ckpt_image_commit(struct ckpt_image_writer *w, const struct ckpt_snapshot *snap,
		      uint64_t *bytesp, struct ckpt_err *err)
{
	uint64_t bytes;
	int r;

	/* What a reader would not take must not be called an image. */
	r = ckpt_snapshot_check(snap, w->base + w->pages_size, err);
	if (r < 0)
		return r;
	r = settle_pages(w, err);
	if (r >= 0)
		r = write_image(w, snap, &bytes, err);
	if (r >= 0 && w->stream && !w->how.server) {
		r = send_image(w, err);
		*bytesp = ckpt_stream_written(w->stream);
		return r;
	}
	if (r >= 0)
		r = ckpt_temp_sync(&w->temp, n_files(w), err);
	if (r >= 0 && w->how.later)
		drop_cache(w);
	if (r >= 0)
		r = w->stream ? publish_with_server(w, err) :
				ckpt_temp_publish(&w->temp, n_files(w), err);
	if (r < 0)
		return r;
	w->made_link = false;
	*bytesp = w->stream ? ckpt_stream_written(w->stream) : bytes + stored_size(w);
	return 0;
}

void ckpt_image_writer_close(struct ckpt_image_writer *w)
{
	if (!w)
		return;
	if (w->made_link)
		unlinkat(w->dirfd, CKPT_PARENT_LINK, 0);
	ckpt_temp_end(&w->temp);
	for (size_t i = 0; w->raw && i < w->files.n; i++)
		close(w->files.part[i].fd);
	w->files.n = 0;
	ckpt_stream_close(w->stream);
	ckpt_pack_close(w->pack);
	w->stream = NULL;
	w->pack = NULL;
}

void ckpt_image_remove(int dirfd, bool pages)
{
	CKPT_FD fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	unlinkat(dirfd, CKPT_IMAGE_NAME, 0);
	if (pages)
		ckpt_pages_remove(dirfd, CKPT_PAGES_FILES);
	if (fd >= 0)
		fsync(fd);
}
