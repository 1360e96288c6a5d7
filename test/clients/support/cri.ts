/** The calls of a kubelet, over containerd's socket. */
import { fileURLToPath } from 'node:url';
import { Client, credentials, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const definitions = loadSync(fileURLToPath(new URL('./cri.proto', import.meta.url)), {
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
});
const SERVICES = ['RuntimeService', 'ImageService'].map(
  (name) => definitions[`runtime.v1.${name}`] as ServiceDefinition,
);
const CALL_MS = 60_000;

type Message = Readonly<Record<string, unknown>>;

export class Cri {
  readonly #client: Client;

  constructor(socket: string) {
    this.#client = new Client(`unix://${socket}`, credentials.createInsecure());
  }

  call<T = Message>(name: string, request: Message = {}): Promise<T> {
    const method = SERVICES.find((each) => Object.hasOwn(each, name))?.[name];
    if (!method) throw new Error(`cri.proto has no ${name}`);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        { deadline: Date.now() + CALL_MS },
        (error, answer) => {
          if (error) reject(new Error(`${name}: ${error.message}`));
          else resolve(answer as T);
        },
      );
    });
  }

  close(): void {
    this.#client.close();
  }
}

/** A pod with the node's network, as there is no CNI. */
export class Pod {
  readonly #cri: Cri;
  readonly #config: Message;
  #id = '';

  constructor(cri: Cri, name: string, logs: string) {
    this.#cri = cri;
    const metadata = { name, uid: `${name}-${process.pid}`, namespace: 'stratafs', attempt: 0 };
    const namespaces = { network: 'NODE', pid: 'CONTAINER', ipc: 'POD' };
    const linux = { security_context: { namespace_options: namespaces } };
    this.#config = { metadata, log_directory: logs, linux };
  }

  async run(): Promise<void> {
    const { pod_sandbox_id: id } = await this.#cri.call<{ pod_sandbox_id: string }>(
      'RunPodSandbox',
      {
        config: this.#config,
      },
    );
    this.#id = id;
  }

  /** Creates and starts one; its id. */
  async container(name: string, image: string, readOnly = false): Promise<string> {
    const namespaces = { network: 'NODE', pid: 'CONTAINER', ipc: 'POD' };
    const { container_id: id } = await this.#cri.call<{ container_id: string }>('CreateContainer', {
      pod_sandbox_id: this.#id,
      sandbox_config: this.#config,
      config: {
        metadata: { name, attempt: 0 },
        image: { image },
        command: ['/bin/sleep', '1000'],
        log_path: `${name}.log`,
        linux: {
          security_context: { namespace_options: namespaces, readonly_rootfs: readOnly },
        },
      },
    });
    await this.#cri.call('StartContainer', { container_id: id });
    return id;
  }

  /** What a shell in the container says; rejects when it fails. */
  async exec(container: string, script: string): Promise<string> {
    const {
      stdout,
      stderr,
      exit_code: code,
    } = await this.#cri.call<{
      stdout: Buffer;
      stderr: Buffer;
      exit_code: number;
    }>('ExecSync', { container_id: container, cmd: ['/bin/sh', '-euc', script], timeout: '30' });
    if (code !== 0) throw new Error(`exit ${code}: ${stderr.toString()}${stdout.toString()}`);
    return stdout.toString();
  }

  async removeContainer(container: string): Promise<void> {
    await this.#cri.call('StopContainer', { container_id: container, timeout: '0' });
    await this.#cri.call('RemoveContainer', { container_id: container });
  }

  async remove(): Promise<void> {
    if (this.#id === '') return;
    await this.#cri.call('StopPodSandbox', { pod_sandbox_id: this.#id });
    await this.#cri.call('RemovePodSandbox', { pod_sandbox_id: this.#id });
    this.#id = '';
  }
}
