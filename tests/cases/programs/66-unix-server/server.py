import asyncio, os, subprocess, sys

CLIENT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as one:
    one.settimeout(20)
    one.connect("control.sock")
    one.sendall(sys.argv[1].encode())
    print(one.recv(100).decode())
"""


async def answer(reader, writer):
    writer.write(b"answer to " + await reader.read(100))
    await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_unix_server(answer, "control.sock")
    for step in range(16):
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-c", CLIENT, str(step), stdout=subprocess.PIPE
        )
        print("step", step, (await client.communicate())[0].decode().strip(), client.returncode, flush=True)
        await asyncio.sleep(0.55)
    server.close()


asyncio.run(main())
os.unlink("control.sock")
sys.exit(51)
