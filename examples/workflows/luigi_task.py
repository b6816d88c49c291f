"""A Luigi task. Run with: LUIGI_CONFIG_PATH=workflows/luigi.cfg luigi --module workflows.luigi_task Count --local-scheduler

luigi.cfg has Luigi run the task again until its program has finished.
"""

import luigi
from luigi.contrib.external_program import ExternalProgramTask


class Count(ExternalProgramTask):
    steps = luigi.IntParameter(default=360000)

    def program_args(self):
        return ["dmtcp-run", "--stdout", "count.txt", "build/count", self.steps]

    def on_success(self):
        # dmtcp-run's file grows while the program runs; Luigi takes a file that exists for a finished task
        with open("count.txt") as source, self.output().open("w") as target:
            target.write(source.read())

    def output(self):
        return luigi.LocalTarget("result.txt")
