// Preloaded into the application: when its runner is gone, even by kill -9, it shuts down instead of keeping its port.
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
// The channel must not keep the application alive.
process.channel?.unref();
