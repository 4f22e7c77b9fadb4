import { Module } from '@nestjs/common';
import { ApprovalMail } from './approval-mail.service.js';
import { ApprovalsController } from './approvals.controller.js';

@Module({ controllers: [ApprovalsController], providers: [ApprovalMail], exports: [ApprovalMail] })
export class ApprovalsModule {}
