# SPDX-License-Identifier: Apache-2.0
# For gdb: the frames of every thread, "TID LEVEL PC NAME". Left out are those that it makes up out of debug information:
# inlined functions, and callers that jumped instead of calling. They have no place of their own on the stack.
import gdb

for thread in sorted(gdb.selected_inferior().threads(), key=lambda t: t.ptid[1]):
    thread.switch()
    frame, level = gdb.newest_frame(), 0
    while frame is not None:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            signal = frame.type() == gdb.SIGTRAMP_FRAME
            name = "<signal>" if signal else frame.name() or "??"
            print("@ %d %d %#x %s" % (thread.ptid[1] or thread.ptid[0], level, frame.pc(), name))
            level += 1
        frame = frame.older()
