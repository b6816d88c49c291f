import logging, logging.handlers, sys, time

handler = logging.handlers.RotatingFileHandler("run.log", maxBytes=160, backupCount=20)
log = logging.getLogger("run")
log.addHandler(handler)
log.setLevel(logging.INFO)
for step in range(36):
    log.info("step %03d %s", step, "." * (step % 7))
    print("step", step, flush=True)
    time.sleep(0.25)
sys.exit(43)
