// Unleash, set up by its environment. Takes a port that is free, says which, and ends with its input.
import { start } from 'unleash-server';

process.on('uncaughtExceptionMonitor', (error) => console.log(error));

const { server } = await start({ server: { port: 0, host: '127.0.0.1' } });
console.log(`listening on ${server.address().port}`);
process.stdin.resume().on('end', () => process.exit(0));
