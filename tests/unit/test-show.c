/* SPDX-License-Identifier: Apache-2.0 */
/* What people see: messages on one line, JSON, the overview; and nothing that a terminal would
 * obey. */
#include <fcntl.h>
#include <json-c/json.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/model/escape.h"
#include "engine/model/reflect.h"
#include "engine/model/show.h"
#include "proto/eventfd.pb-c.h"
#include "proto/signalfd.pb-c.h"
#include "tests/lib/sample.h"
#include "tests/lib/tap.h"

static struct ckpt_arena *arena;

static void shows(const ProtobufCMessage *msg, const char *want, const char *what)
{
	char line[400];

	is(ckpt_show_message(msg, line, sizeof(line)), strlen(want), what);
	is_text(line, want, what);
}

static void messages(void)
{
	Ckpt__Eventfd e = CKPT__EVENTFD__INIT;
	Ckpt__Signalfd s = CKPT__SIGNALFD__INIT;
	Ckpt__Inventory inv = CKPT__INVENTORY__INIT;
	Ckpt__Area area = CKPT__AREA__INIT, *areas[40];
	Ckpt__Mm mm = CKPT__MM__INIT;
	Ckpt__Task task = CKPT__TASK__INIT;
	char line[2000], small[9];

	e.count = 3;
	shows(&e.base, "Eventfd count=3", "numbers");
	e.has_semaphore = e.semaphore = true;
	shows(&e.base, "Eventfd count=3 semaphore=yes", "truth");
	s.mask = 0x200;
	shows(&s.base, "Signalfd mask=0x200", "masks");
	is(ckpt_show_message(&s.base, small, sizeof(small)), 8, "a short buffer is filled");
	is_text(small, "Signalfd", "and ends");
	is(ckpt_show_message(&s.base, NULL, 0), 0, "no buffer");
	inv.format = 1;
	inv.hostname = (char *)"a\"b\\c\n\x1b[31m";
	inv.has_vdso = true;
	inv.vdso.data = (uint8_t *)"\x7f"
				   "EL";
	inv.vdso.len = 3;
	inv.n_lost = 2;
	inv.lost = (char *[]){ (char *)"x", (char *)"y" };
	shows(&inv.base,
	      "Inventory format=1 hostname=\"a\\\"b\\\\c\\n\\x1b[31m\" vdso=<7f454c> lost=[\"x\" \"y\"]",
	      "texts, bytes and lists");
	task.state = CKPT__TASK__STATE__STOPPED;
	ckpt_show_message(&task.base, line, sizeof(line));
	ok(strstr(line, "state=STOPPED") != NULL, "names of numbers: %s", line);
	task.state = 9;
	ckpt_show_message(&task.base, line, sizeof(line));
	ok(strstr(line, "state=9") != NULL, "numbers without a name");
	area.start = 0x7f0000000000;
	for (int i = 0; i < 40; i++)
		areas[i] = &area;
	mm.areas = areas;
	mm.n_areas = 40;
	ckpt_show_message(&mm.base, line, sizeof(line));
	ok(strstr(line, "areas=[{start=0x7f0000000000 end=0 ") != NULL,
	   "nested messages, addresses");
	ok(ckpt_show_message(&mm.base, line, sizeof(line)) < sizeof(line), "long lists are cut");
	is_text(ckpt_field_text(&inv.base, "hostname"), inv.hostname, "a text by its name");
	ok(!ckpt_field_text(&inv.base, "kernel") && !ckpt_field_text(&inv.base, "format") &&
		   !ckpt_field_text(&inv.base, "lost") && !ckpt_field_text(&inv.base, "nothing"),
	   "what is no text");
}

static void escapes(const char *in, size_t len, const char *want, const char *what)
{
	char buf[100];
	struct ckpt_text t;

	ckpt_text_init(&t, buf, sizeof(buf));
	ckpt_text_escaped(&t, in, len, 0);
	is_text(buf, want, what);
}

static void escaping(void)
{
	struct ckpt_text t;
	char buf[5];

	escapes("plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", 17,
		"plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", "UTF-8");
	escapes("a\0b", 3, "a\\x00b", "NUL");
	escapes("\x1b]0;x\x07\x7f\t", 8, "\\x1b]0;x\\x07\\x7f\\t", "escape sequences");
	escapes("\xc2\x9b"
		"31m",
		5, "\\xc2\\x9b31m", "the other escape");
	escapes("\xff\xc3(\xe2\x82", 5, "\\xff\\xc3(\\xe2\\x82", "what is not UTF-8");
	escapes("\xc0\x80\xed\xa0\x80", 5, "\\xc0\\x80\\xed\\xa0\\x80", "overlong and surrogate");
	escapes("\xe2\x80\xae"
		"cod.exe",
		10, "\\xe2\\x80\\xaecod.exe", "right to left");
	ckpt_text_init(&t, buf, sizeof(buf));
	ckpt_text_escaped(&t, "ab\xe2\x82\xac", 5, 0);
	is_text(buf, "ab", "a character is not cut in half");
}

static bool tame(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < ' ' && *s != '\n')
			return false;
	}
	return true;
}

static void every_kind(void)
{
	unsigned int good = 0, parsed = 0;
	char line[4000];

	for (unsigned int k = 0; k < ckpt_n_kinds; k++) {
		ProtobufCMessage *msg = sample_message(arena, ckpt_kinds[k]->message, k);
		struct json_object *json = ckpt_json_message(msg), *again;

		good += ckpt_show_message(msg, line, sizeof(line)) > 0 && tame(line);
		again = json_tokener_parse(json_object_to_json_string(json));
		parsed += again != NULL;
		json_object_put(again);
		json_object_put(json);
	}
	is(good, ckpt_n_kinds, "a message of every kind is shown");
	is(parsed, ckpt_n_kinds, "and is JSON");
}

static void overview(const struct ckpt_snapshot *snap)
{
	int fd = memfd_create("overview", 0);
	FILE *out;
	char *text;
	off_t size;

	out = fdopen(fd, "w");
	ckpt_show_snapshot(snap, out);
	fflush(out);
	size = lseek(fd, 0, SEEK_END);
	text = calloc(1, size + 1);
	ok(pread(fd, text, size, 0) == size && tame(text), "an overview of %lld bytes",
	   (long long)size);
	ok(strstr(text, "3 processes, 3 threads, ") != NULL, "with a summary");
	ok(strstr(text, "dumped 2023-11-14 22:13:20 UTC on host") != NULL, "its origin");
	ok(strstr(text, "\nlost: another\n") != NULL, "what was lost");
	ok(strstr(text, "\n    3000 zombie \"fifteen letters\" exit status 0x300\n") != NULL,
	   "the tree");
	ok(strstr(text, "\n  fd 2 (close-on-exec)  ") != NULL, "descriptors");
	ok(strstr(text, "000000400000-000000403000 rw-p  12.0 KiB stored   8.0 KiB  [heap]") !=
		   NULL,
	   "areas");
	ok(strstr(text, "000000500000-000000502000 rw-p   8.0 KiB stored   4.0 KiB  ") != NULL,
	   "and what they map");
	if (tap_failed)
		fputs(text, stderr);
	free(text);
	close(fd);
}

static void as_json(const struct ckpt_snapshot *snap)
{
	struct json_object *json = ckpt_json_snapshot(snap), *tasks = NULL, *objects = NULL,
			   *v = NULL, *heap;

	ok(json_object_object_get_ex(json, "tasks", &tasks) && json_object_array_length(tasks) == 3,
	   "JSON has the tasks");
	ok(json_object_object_get_ex(json, "objects", &objects) &&
		   json_object_array_length(objects) == snap->n_objects,
	   "and the objects");
	heap = json_object_array_get_idx(tasks, 0);
	ok(json_object_object_get_ex(heap, "pid", &v) && json_object_get_int64(v) == 1000,
	   "a number");
	ok(json_object_object_get_ex(heap, "stored_bytes", &v) && json_object_get_int64(v) == 12288,
	   "what is stored");
	ok(json_object_object_get_ex(heap, "comm", &v) &&
		   !strcmp(json_object_get_string(v), "fifteen letters"),
	   "a text");
	ok(json_object_object_get_ex(json, "inventory", &v) &&
		   json_object_object_get_ex(v, "time_ns", &v) &&
		   json_object_get_uint64(v) == 1700000000123456789ull,
	   "a big number");
	json_object_put(json);
}

int main(void)
{
	struct ckpt_err err;
	struct ckpt_snapshot *snap;

	must(ckpt_arena_open(&arena, 256 << 20, &err) == 0, "an arena opens");
	messages();
	escaping();
	every_kind();
	snap = sample_full(arena);
	overview(snap);
	as_json(snap);
	ckpt_arena_close(arena);
	return tap_end();
}
