import mmap, os, struct, sys, time

room = mmap.mmap(-1, 4096)  # shared, anonymous: between a process and its children
child = os.fork()
for step in range(40):
    at = 0 if child else 8
    room[at : at + 8] = struct.pack("q", struct.unpack("q", room[at : at + 8])[0] + 1)
    if child:
        print("step", step, flush=True)
    time.sleep(0.25)
if not child:
    os._exit(0)
os.waitpid(child, 0)
print("parent counted", *struct.unpack("q", room[:8]), "child counted", *struct.unpack("q", room[8:16]), flush=True)
sys.exit(5)
