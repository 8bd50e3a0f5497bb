// Owns one item sent by each OTLP exporter of OpenTelemetry JS, with each of its compressions; prints what became of it, a line each.
// Usage: node exporters.mjs <OTLP/HTTP> <OTLP/gRPC>, with the key in OTEL_EXPORTER_OTLP_HEADERS.
import { SpanStatusCode, TraceFlags } from '@opentelemetry/api';
import { OTLPLogExporter as LogsGrpc } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPLogExporter as LogsJson } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as LogsProto } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPTraceExporter as TracesGrpc } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as TracesJson } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as TracesProto } from '@opentelemetry/exporter-trace-otlp-proto';
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs';
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';

const [http, grpc] = process.argv.slice(2);
const EXPORTERS = [
  ['protobuf', 'traces', TracesProto], ['JSON', 'traces', TracesJson], ['gRPC', 'traces', TracesGrpc],
  ['protobuf', 'logs', LogsProto], ['JSON', 'logs', LogsJson], ['gRPC', 'logs', LogsGrpc],
];
const linked = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: TraceFlags.SAMPLED };
const said = (name) => ({ name, text: 'ünïcödé 🙂', count: 9007199254740991, ratio: 0.1, yes: true, list: ['a', 'b'] });

function span(name) {
  const memory = new InMemorySpanExporter();
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(memory)] });
  const made = provider.getTracer('exporters').startSpan(name, { attributes: said(name), links: [{ context: linked }] });
  made.addEvent('event', { k: 1 });
  made.setStatus({ code: SpanStatusCode.ERROR, message: 'because' });
  made.end();
  return memory.getFinishedSpans();
}

function record(name) {
  const memory = new InMemoryLogRecordExporter();
  const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter: memory })] });
  provider.getLogger('exporters').emit({ eventName: name, body: { said: ['x', 1] }, severityNumber: 9, attributes: said(name) });
  return memory.getFinishedLogRecords();
}

for (const [transport, signal, Exporter] of EXPORTERS) {
  for (const compression of ['none', 'gzip']) {
    const name = `javascript ${transport} ${signal} ${compression}`;
    const url = transport === 'gRPC' ? grpc : `${http}/v1/${signal}`;
    const exporter = new Exporter({ url, compression });
    const items = signal === 'traces' ? span(name) : record(name);
    const result = await new Promise((resolve) => exporter.export(items, resolve));
    await exporter.shutdown();
    console.log(JSON.stringify({ transport, signal, name, code: result.code, error: String(result.error ?? '') }));
  }
}
