// A workflow that mails somebody, in one step that a test can hold.
import { Injectable } from '@nestjs/common';
import { Step, Workflow } from 'nestjs-dbos';

@Injectable()
export class Mailer {
  sent: string[] = [];
  /** Set by a test that wants to hold a step body. */
  held: Promise<void> | undefined;

  @Step()
  async send(to: string): Promise<string> {
    this.sent.push(to);
    await this.held;
    return `sent to ${to}`;
  }
}

@Injectable()
export class Campaign {
  constructor(private readonly mailer: Mailer) {}

  @Workflow()
  async run(to: string): Promise<string> {
    return this.mailer.send(to);
  }
}
