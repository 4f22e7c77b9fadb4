// The smallest workflow that has a step on another provider.
import { Injectable } from '@nestjs/common';
import { Step, Workflow } from 'nestjs-dbos';

export interface Charge {
  readonly amount: number;
}

@Injectable()
export class Payments {
  calls = 0;

  @Step()
  async charge(amount: number): Promise<Charge> {
    this.calls += 1;
    return { amount };
  }
}

@Injectable()
export class Checkout {
  constructor(readonly payments: Payments) {}

  @Workflow()
  async run(amount: number): Promise<Charge> {
    return this.payments.charge(amount);
  }

  unmarked(): string {
    return 'plain';
  }
}
