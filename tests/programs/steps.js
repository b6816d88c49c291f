// A generator, a map and timers of the event loop: node steps.js [STEPS]
const steps = Number(process.argv[2] || 300);
const count = new Map();
let x = 1, step = 0;

function next() {
    for (let i = 0; i < 20000; i++) {
        x = (16807 * x) % 2147483647;
        count.set(x % 100, (count.get(x % 100) || 0) + 1);
    }
    let sum = 0;
    for (const [key, value] of count) sum = (sum * 31 + key * value) % 1000000007;
    step++;
    console.log(step, x, sum);
    if (step < steps) setTimeout(next, 95);
    else console.log("done", steps, x, sum);
}

next();
