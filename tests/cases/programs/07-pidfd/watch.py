import asyncio, sys


async def main():
    child = await asyncio.create_subprocess_exec("sleep", "11")
    for step in range(40):
        print("step", step, flush=True)
        await asyncio.sleep(0.25)
    print("child", await child.wait(), flush=True)


asyncio.set_child_watcher(asyncio.PidfdChildWatcher())  # the default from Python 3.12 on
asyncio.run(main())
sys.exit(17)
