import mmap, struct, sys, time

CELLS = 4096
with open("grid.bin", "w+b") as file:
    file.truncate(CELLS * 8)
    grid = mmap.mmap(file.fileno(), CELLS * 8)
for step in range(36):
    for cell in range(0, CELLS, 64):
        at = (cell + step) % CELLS * 8
        grid[at : at + 8] = struct.pack("q", struct.unpack("q", grid[at : at + 8])[0] * 3 + step + 1)
    grid[0:8] = struct.pack("q", struct.unpack("q", grid[0:8])[0] + 1)
    print("step", step, sum(struct.unpack(f"{CELLS}q", grid[:])) % 1000003, flush=True)
    time.sleep(0.25)
grid.flush()
sys.exit(33)
