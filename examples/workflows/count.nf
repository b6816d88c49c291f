// Run with: nextflow run workflows/count.nf
// Each try has a new work directory, so the program runs in a directory of its own, and its result is linked.
params.steps = 360000

process count {
    errorStrategy { task.exitStatus == 85 ? 'retry' : 'terminate' }
    maxRetries 1000

    output:
    path 'out.txt'

    script:
    """
    work=\$PWD
    cd ${launchDir}
    dmtcp-run --stdout count.txt build/count ${params.steps} || exit
    cp count.txt "\$work/out.txt"
    """
}

workflow { count() }
